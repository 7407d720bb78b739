#include "daemon/metric_lengths.h"

#include "base/status.h"

namespace finetuned {

absl::StatusOr<MetricLengths::Answer> MetricLengths::Get(int64_t run_id, absl::Duration now,
                                                         absl::Duration not_before) {
  std::shared_ptr<Kept> kept;
  {
    MutexLock lock(mutex_);
    if (kept_.size() >= kMaxKept) {
      for (auto it = kept_.begin(); it != kept_.end();) {
        it = it->second.first + kAge < now ? kept_.erase(it) : std::next(it);
      }
    }
    auto& [asked, of_run] = kept_[run_id];
    asked = now;
    if (of_run == nullptr) of_run = std::make_shared<Kept>();
    kept = of_run;
  }
  // Who comes while it is asked waits for the same answer.
  MutexLock lock(kept->mutex);
  if (kept->answer.time < not_before && !kept->answer.files.ended) {
    FT_ASSIGN_OR_RETURN(kept->answer.files, reader_.ReadMetricFiles(run_id));
    kept->answer.time = now;
  }
  return kept->answer;
}

}  // namespace finetuned
