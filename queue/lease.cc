#include "queue/lease.h"

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace finetuned {

absl::Status CheckLeaseTimes(const LeaseTimes& times) {
  const std::pair<const char*, absl::Duration> all[] = {
      {"lease.renew_interval_duration", times.renew_interval},
      {"lease.self_stop_duration", times.self_stop},
      {"lease.grace_duration", times.grace},
      {"lease.margin_duration", times.margin},
      {"lease.reassign_duration", times.reassign}};
  for (const auto& [name, value] : all) {
    if (value <= absl::ZeroDuration()) {
      return MakeError(absl::StatusCode::kInvalidArgument, "BAD_CONFIG",
                       absl::StrCat(name, ": must be above zero"));
    }
  }
  if (times.self_stop < times.renew_interval * 3) {
    return MakeError(absl::StatusCode::kInvalidArgument, "BAD_CONFIG",
                     "lease.self_stop_duration: must be at least three times "
                     "lease.renew_interval_duration, so that one lost renewal stops nothing");
  }
  const absl::Duration least = times.self_stop + times.grace + times.margin;
  if (times.reassign < least) {
    return MakeError(
        absl::StatusCode::kInvalidArgument, "BAD_CONFIG",
        absl::StrCat("lease.reassign_duration: ", absl::FormatDuration(times.reassign),
                     " is less than self_stop + grace + margin = ", absl::FormatDuration(least),
                     "; two trainers of one run could overlap"));
  }
  return absl::OkStatus();
}

bool DeservesAmnesty(absl::Duration since_last_look, absl::Duration looking_interval) {
  return since_last_look > looking_interval * 10;
}

}  // namespace finetuned
