#include "db/liveness.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace finetuned {

std::string WithLiveness(const std::string& database_url) {
  static constexpr std::pair<const char*, const char*> kDefaults[] = {
      {"keepalives_idle", "5"},
      {"keepalives_interval", "2"},
      {"keepalives_count", "3"},
      {"tcp_user_timeout", "10000"}};
  const bool is_uri = absl::StrContains(database_url, "://");
  std::string result = database_url;
  for (const auto& [name, value] : kDefaults) {
    if (absl::StrContains(database_url, name)) continue;
    const char* separator = !is_uri ? " " : absl::StrContains(result, '?') ? "&" : "?";
    absl::StrAppend(&result, separator, name, "=", value);
  }
  return result;
}

}  // namespace finetuned
