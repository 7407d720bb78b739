#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

#include "absl/status/status.h"

// Structured logging: one JSON object per line on standard error, safe for concurrent use. Text of
// users goes into fields, never into the message, and is escaped: a log line cannot be forged by a
// newline or an escape sequence.

namespace finetuned {

enum class LogLevel { kTrace, kDebug, kInfo, kWarning, kError };

// One field of a line. Values are shortened to kMaxLogFieldBytes.
struct LogField {
  LogField(std::string_view key_in, std::string_view value_in) : key(key_in), value(value_in) {}
  LogField(std::string_view key_in, const std::string& value_in) : key(key_in), value(value_in) {}
  LogField(std::string_view key_in, const char* value_in) : key(key_in), value(value_in) {}
  LogField(std::string_view key_in, const absl::Status& value_in)
      : key(key_in), value(value_in.ToString()) {}
  template <typename Number, typename = std::enable_if_t<std::is_arithmetic_v<Number>>>
  LogField(std::string_view key_in, Number value_in)
      : key(key_in), value(std::to_string(value_in)), is_number(true) {}

  std::string key;
  std::string value;
  bool is_number = false;
};

inline constexpr size_t kMaxLogFieldBytes = 16 * 1024;

// Sets the program's name, shown in each line, and the least level that is written: trace, debug,
// info, warning or error; empty is info. INVALID_ARGUMENT for another name.
absl::Status InitLogging(const std::string& program, const std::string& level);

// Writes one line: Log(LogLevel::kInfo, "run admitted", {{"run", name}, {"owner", owner}}).
void Log(LogLevel level, std::string_view message, std::initializer_list<LogField> fields = {});

}  // namespace finetuned
