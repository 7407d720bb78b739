#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "db/pool.h"

// What is past its workspace's retention: counted from the run's end, by the database's clock. Any
// number of daemons may look at the same time.

namespace finetuned {

// What a run leaves in files, and how long is said for each.
enum class RetainedFiles { kLogs, kMetrics };

struct RunPastRetention {
  int64_t workspace_id = 0;
  std::string workspace;
  std::string run;
  absl::Time end_time;
};

class RetentionStore {
 public:
  explicit RetentionStore(Pool* pool) : pool_(*pool) {}

  // Drops one partition of events all of whose runs are past their retention; false where there is
  // none. Waits for each lock for a fifth of a second at most, UNAVAILABLE when it could not be
  // had; has those who write or read events wait while it looks once more and drops.
  absl::StatusOr<bool> RetireEventPartition();

  // Runs of one workspace whose files are to be deleted, the longest ended first: `limit`, and
  // those that ended at the same time as the last of them.
  absl::StatusOr<std::vector<RunPastRetention>> FindRuns(RetainedFiles files, int limit);

  // The files of all runs of the workspace that ended up to then are deleted.
  absl::Status MarkSwept(RetainedFiles files, int64_t workspace_id, absl::Time end_time);

  // For how long the first of them is past its retention; 0 where there are none.
  absl::StatusOr<absl::Duration> Overdue(RetainedFiles files);

  // Whether a run's files may have been deleted.
  absl::StatusOr<bool> IsPast(RetainedFiles files, int64_t run_id);

 private:
  Pool& pool_;
};

}  // namespace finetuned
