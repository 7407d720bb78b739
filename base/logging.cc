#include "base/logging.h"

#include <memory>

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

namespace finetuned {
namespace {

// The logger writes finished lines: time and level are put into the JSON here, so that one place
// escapes.
struct Logger {
  std::shared_ptr<spdlog::logger> sink;
  std::string program = "finetuned";
};

Logger& TheLogger() {
  static Logger* logger = [] {
    auto* created = new Logger;
    created->sink = spdlog::stderr_logger_mt("finetuned");
    created->sink->set_pattern(R"({"time":"%Y-%m-%dT%H:%M:%S.%eZ","level":"%l",%v})",
                               spdlog::pattern_time_type::utc);
    created->sink->flush_on(spdlog::level::info);
    return created;
  }();
  return *logger;
}

void AppendEscaped(std::string& out, std::string_view text) {
  static constexpr char kHex[] = "0123456789abcdef";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (byte < 0x20 || byte == 0x7f) {
      out += "\\u00";
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    } else {
      out += c;
    }
  }
}

}  // namespace

absl::Status InitLogging(const std::string& program, const std::string& level) {
  static const std::pair<const char*, spdlog::level::level_enum> kLevels[] = {
      {"trace", spdlog::level::trace},
      {"debug", spdlog::level::debug},
      {"info", spdlog::level::info},
      {"warning", spdlog::level::warn},
      {"error", spdlog::level::err}};
  Logger& logger = TheLogger();
  logger.program = program;
  const std::string wanted = level.empty() ? "info" : level;
  for (const auto& [name, value] : kLevels) {
    if (wanted == name) {
      logger.sink->set_level(value);
      return absl::OkStatus();
    }
  }
  return absl::InvalidArgumentError("log_level: \"" + wanted +
                                    "\" is none of trace, debug, info, warning, error");
}

void Log(LogLevel level, std::string_view message, std::initializer_list<LogField> fields) {
  const auto spdlog_level = static_cast<spdlog::level::level_enum>(level);
  Logger& logger = TheLogger();
  if (!logger.sink->should_log(spdlog_level)) return;
  std::string line = "\"program\":\"" + logger.program + "\",\"message\":\"";
  AppendEscaped(line, message);
  line += '"';
  for (const LogField& field : fields) {
    line += ",\"";
    AppendEscaped(line, field.key);
    line += "\":";
    if (field.is_number) {
      line += field.value;
      continue;
    }
    line += '"';
    AppendEscaped(line, std::string_view(field.value).substr(0, kMaxLogFieldBytes));
    line += '"';
  }
  logger.sink->log(spdlog_level, spdlog::string_view_t(line.data(), line.size()));
}

}  // namespace finetuned
