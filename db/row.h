#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <pqxx/pqxx>

#include "absl/time/time.h"

// Reading columns. For the files of db/ only: libpqxx does not leave this room. The connections'
// time zone is UTC.

namespace finetuned {

inline std::string TextOf(const pqxx::field& field) { return field.is_null() ? "" : field.c_str(); }

inline std::string BytesOf(const pqxx::field& field) {
  return field.is_null() ? "" : pqxx::binarystring(field).str();
}

inline pqxx::binarystring Bytes(const std::string& bytes) { return pqxx::binarystring(bytes); }

// A time as Postgres writes it, e.g. `2026-01-31 23:59:59.25+00`. Throws pqxx::conversion_error at
// anything else.
absl::Time ParseTime(std::string_view text);

inline absl::Time TimeOf(const pqxx::field& field) { return ParseTime(field.c_str()); }

inline std::optional<absl::Time> OptionalTimeOf(const pqxx::field& field) {
  if (field.is_null()) return std::nullopt;
  return TimeOf(field);
}

// The rows of a result, each name of a column looked up once: libpqxx compares it with all columns
// again in every row. Rows do not outlive the result. Not safe for concurrent use.
class Rows {
 public:
  class Row {
   public:
    Row(const Rows* rows, pqxx::row row) : rows_(rows), row_(std::move(row)) {}
    // A name is a literal: it is known again by its address.
    pqxx::field operator[](const char* name) const { return row_[rows_->NumberOf(name)]; }

   private:
    const Rows* rows_;
    pqxx::row row_;
  };

  class Iterator {
   public:
    Iterator(const Rows* rows, pqxx::result::size_type i) : rows_(rows), i_(i) {}
    Row operator*() const { return {rows_, rows_->result_[i_]}; }
    Iterator& operator++() {
      ++i_;
      return *this;
    }
    bool operator!=(const Iterator& other) const { return i_ != other.i_; }

   private:
    const Rows* rows_;
    pqxx::result::size_type i_;
  };

  explicit Rows(pqxx::result result) : result_(std::move(result)) {}

  Iterator begin() const { return {this, 0}; }
  Iterator end() const { return {this, result_.size()}; }

 private:
  pqxx::row::size_type NumberOf(const char* name) const;

  pqxx::result result_;
  mutable std::vector<std::pair<const char*, pqxx::row::size_type>> known_;
  // Rows are read alike, so that the name asked for is most often the one after the last.
  mutable size_t next_ = 0;
};

}  // namespace finetuned
