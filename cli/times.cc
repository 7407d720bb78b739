#include "cli/times.h"

#include <cmath>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/errors.h"

namespace finetuned::cli {
namespace {

constexpr absl::Duration kDay = absl::Hours(24);
constexpr absl::Duration kMaxDuration = absl::Hours(24 * 10000);

absl::Duration UnitOf(const std::string& unit) {
  if (unit == "w") return 7 * kDay;
  if (unit == "d") return kDay;
  if (unit == "h") return absl::Hours(1);
  if (unit == "m" || unit == "min") return absl::Minutes(1);
  if (unit == "s") return absl::Seconds(1);
  if (unit == "ms") return absl::Milliseconds(1);
  return absl::ZeroDuration();
}

}  // namespace

absl::StatusOr<absl::Duration> ParseDuration(const std::string& text) {
  const absl::Status bad = UsageError(
      absl::StrCat("`", text, "` is not a duration; write it like 90s, 30m, 2h, 1h30m or 7d."));
  absl::Duration sum;
  size_t at = 0;
  while (at < text.size()) {
    const size_t digits_end = text.find_first_not_of("0123456789.", at);
    if (digits_end == at || digits_end == std::string::npos) return bad;
    const size_t unit_end = std::min(text.find_first_of("0123456789.", digits_end), text.size());
    double number = 0;
    if (!absl::SimpleAtod(text.substr(at, digits_end - at), &number)) return bad;
    const absl::Duration unit = UnitOf(text.substr(digits_end, unit_end - digits_end));
    if (unit == absl::ZeroDuration()) return bad;
    sum += number * unit;
    at = unit_end;
  }
  if (text.empty() || sum > kMaxDuration) return bad;
  return sum;
}

absl::StatusOr<absl::Time> ParseTimePoint(const std::string& text, absl::Time now) {
  const absl::TimeZone utc = absl::UTCTimeZone();
  const absl::CivilDay today = absl::ToCivilDay(now, utc);
  if (text == "now") return now;
  if (text == "today") return absl::FromCivil(today, utc);
  if (text == "yesterday") return absl::FromCivil(today - 1, utc);
  absl::Time time;
  std::string ignored;
  for (const char* format :
       {"%Y-%m-%d%ET%H:%M:%E*S%Ez", "%Y-%m-%d %H:%M:%E*S%Ez", "%Y-%m-%d%ET%H:%M:%E*S",
        "%Y-%m-%d %H:%M:%E*S", "%Y-%m-%d%ET%H:%M", "%Y-%m-%d %H:%M", "%Y-%m-%d"}) {
    if (absl::ParseTime(format, text, utc, &time, &ignored)) return time;
  }
  if (auto ago = ParseDuration(text); ago.ok()) return now - *ago;
  return UsageError(absl::StrCat(
      "`", text,
      "` is not a time; write it like 2026-01-31, 2026-01-31T18:00:00Z, yesterday, or 2h for two "
      "hours ago."));
}

std::string FormatAge(absl::Duration age) {
  const int64_t seconds = std::max<int64_t>(0, absl::ToInt64Seconds(age));
  if (seconds < 120) return absl::StrCat(seconds, "s");
  if (seconds < 2 * 3600) return absl::StrCat(seconds / 60, "m");
  if (seconds < 48 * 3600) return absl::StrCat(seconds / 3600, "h");
  return absl::StrCat(seconds / 86400, "d");
}

std::string HumanDuration(absl::Duration duration) {
  if (duration < absl::ZeroDuration()) duration = absl::ZeroDuration();
  if (duration < absl::Seconds(10) && duration % absl::Seconds(1) != absl::ZeroDuration()) {
    return absl::StrFormat("%.1fs", absl::ToDoubleSeconds(duration));
  }
  const int64_t seconds = absl::ToInt64Seconds(duration);
  const auto two = [](int64_t large, const char* large_unit, int64_t small,
                      const char* small_unit) {
    return small == 0 ? absl::StrCat(large, large_unit)
                      : absl::StrCat(large, large_unit, " ", small, small_unit);
  };
  if (seconds < 60) return absl::StrCat(seconds, "s");
  if (seconds < 3600) return two(seconds / 60, "m", seconds % 60, "s");
  if (seconds < 86400) return two(seconds / 3600, "h", seconds % 3600 / 60, "m");
  return two(seconds / 86400, "d", seconds % 86400 / 3600, "h");
}

std::string FormatRelative(absl::Time time, absl::Time now) {
  if (time == absl::UnixEpoch()) return "";
  const absl::Duration age = now - time;
  if (age >= absl::Seconds(1)) return FormatAge(age) + " ago";
  if (age <= -absl::Seconds(1)) return "in " + FormatAge(-age);
  return "now";
}

std::string FormatUtc(absl::Time time) {
  return absl::FormatTime("%Y-%m-%d%ET%H:%M:%SZ", time, absl::UTCTimeZone());
}

}  // namespace finetuned::cli
