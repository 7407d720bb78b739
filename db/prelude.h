#pragma once

#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include "db/array.h"
#include "db/query.h"

namespace finetuned {

// What a transaction begins with: named statements between which nothing is decided. They go to
// the server with BEGIN in one message, so that they cost one round trip, each with a snapshot of
// its own; the rows of the last come back. What they take is numbers, truth values and lists of
// them, so nothing has to be quoted.
class Prelude {
 public:
  // The query must outlive this.
  template <typename... Arguments>
  Prelude& Then(const Query& query, const Arguments&... arguments) {
    text_.append("; execute ").append(query.name);
    queries_.push_back(&query);
    std::string list;
    (list.append(list.empty() ? "(" : ", ").append(Literal(arguments)), ...);
    if (!list.empty()) text_ += list + ')';
    return *this;
  }

  // BEGIN, and the statements.
  const std::string& text() const { return text_; }
  // The statements, which are to be prepared before.
  const std::vector<const Query*>& queries() const { return queries_; }

 private:
  template <typename Argument>
  static std::string Literal(const Argument& argument) {
    if constexpr (std::is_same_v<Argument, bool>) {
      return argument ? "true" : "false";
    } else if constexpr (std::is_integral_v<Argument>) {
      return std::to_string(argument);
    } else {
      static_assert(std::is_integral_v<typename Argument::value_type>);
      return "'" + ArrayOf(argument) + "'";
    }
  }
  template <typename Number>
  static std::string Literal(const std::optional<Number>& number) {
    return number.has_value() ? Literal(*number) : "null";
  }

  std::string text_ = "begin";
  std::vector<const Query*> queries_;
};

}  // namespace finetuned
