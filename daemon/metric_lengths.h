#pragma once

#include <cstdint>
#include <map>
#include <memory>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "db/reads.h"

namespace finetuned {

// How much of the metric files of runs may be read, asked of Postgres once for all who follow a
// run. Safe for concurrent use.
class MetricLengths {
 public:
  static constexpr absl::Duration kAge = absl::Seconds(1);
  // Answers kept; beyond them those that are too old are dropped.
  static constexpr size_t kMaxKept = 1000;

  explicit MetricLengths(Reader* reader) : reader_(*reader) {}

  struct Answer {
    MetricFiles files;
    // Not older than this.
    absl::Duration time = -absl::InfiniteDuration();
  };
  // As it was at most kAge ago, or `now`.
  absl::StatusOr<Answer> GetRecent(int64_t run_id, absl::Duration now) {
    return Get(run_id, now, now - kAge);
  }
  absl::StatusOr<Answer> GetNewest(int64_t run_id, absl::Duration now) {
    return Get(run_id, now, now);
  }

 private:
  absl::StatusOr<Answer> Get(int64_t run_id, absl::Duration now, absl::Duration not_before);

  struct Kept {
    Mutex mutex;
    Answer answer ABSL_GUARDED_BY(mutex);
  };

  Reader& reader_;
  Mutex mutex_;
  // With the time of the last question.
  std::map<int64_t, std::pair<absl::Duration, std::shared_ptr<Kept>>> kept_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace finetuned
