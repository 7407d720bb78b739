#pragma once

#include <optional>
#include <string>

#include <pqxx/pqxx>

#include "absl/strings/match.h"
#include "absl/time/time.h"
#include "base/strings.h"

// Reading columns. For the files of db/ only: libpqxx does not leave this room. The connections'
// time zone is UTC.

namespace finetuned {

inline std::string TextOf(const pqxx::field& field) { return field.is_null() ? "" : field.c_str(); }

inline std::string BytesOf(const pqxx::field& field) {
  return field.is_null() ? "" : pqxx::binarystring(field).str();
}

inline pqxx::binarystring Bytes(const std::string& bytes) { return pqxx::binarystring(bytes); }

inline absl::Time TimeOf(const pqxx::field& field) {
  std::string text = field.c_str();
  if (absl::EndsWith(text, "+00")) text.resize(text.size() - 3);
  absl::Time time;
  std::string error;
  if (!absl::ParseTime("%Y-%m-%d %H:%M:%E*S", text, absl::UTCTimeZone(), &time, &error)) {
    throw pqxx::conversion_error("not a time: " + text);
  }
  return time;
}

inline std::optional<absl::Time> OptionalTimeOf(const pqxx::field& field) {
  if (field.is_null()) return std::nullopt;
  return TimeOf(field);
}

}  // namespace finetuned
