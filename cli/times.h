#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

// Times and durations as people write and read them. Pure: the present comes in as an argument.

namespace finetuned::cli {

// A duration: numbers with units w, d, h, m, s, ms, largest first or not, e.g. `2h`, `1h30m`,
// `1.5d`. Usage error otherwise, and for one that is negative or above 10,000 days.
absl::StatusOr<absl::Duration> ParseDuration(const std::string& text);

// A point in time: RFC 3339 (`2026-01-01T12:00:00Z`), a date with or without time of day
// (`2026-01-01`, `2026-01-01 12:00`, read as UTC like everywhere in the API), `now`, `today`,
// `yesterday` (their first moment in UTC), or a duration, meaning so long ago (`2h`). Usage error
// otherwise.
absl::StatusOr<absl::Time> ParseTimePoint(const std::string& text, absl::Time now);

// One number and a unit, as `5m`; for columns. Below a second `0s`.
std::string FormatAge(absl::Duration age);

// Two numbers, as `5m 12s`, `2h 3m`, `4d 7h`; tenths below ten seconds, as `0.9s`.
std::string HumanDuration(absl::Duration duration);

// `5m ago`, `in 5m` or `now`; empty for a time that is not set (the epoch).
std::string FormatRelative(absl::Time time, absl::Time now);

// RFC 3339 in UTC, to the second: `2026-01-01T12:00:00Z`.
std::string FormatUtc(absl::Time time);

}  // namespace finetuned::cli
