#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "db/pool.h"
#include "queue/run_edit.h"

// What users change about things that are there. Each change is decided under the row's lock, and
// made once however often it is asked for.

namespace finetuned {

struct StoredWorkspace {
  std::string name;
  bool share_runs = false;
  absl::Time create_time;
  // How long events, metrics and logs are kept after a run's end; 0 for good.
  int64_t event_seconds = 0;
  int64_t metric_seconds = 0;
  int64_t log_seconds = 0;
};

// What is not given stays.
struct WorkspaceEdit {
  std::optional<bool> share_runs;
  std::optional<int64_t> event_seconds;
  std::optional<int64_t> metric_seconds;
  std::optional<int64_t> log_seconds;
};

class EditStore {
 public:
  explicit EditStore(Pool* pool) : pool_(*pool) {}

  // Errors: NOT_FOUND when it was deleted meanwhile; ABORTED `ETAG_MISMATCH` for another etag than
  // a given one; those of DecideEdit.
  absl::Status UpdateRun(int64_t run_id, const std::string& etag, const RunEdit& edit);
  // Errors as above; those of CheckDelete.
  absl::Status DeleteRun(int64_t run_id, const std::string& etag);

  absl::StatusOr<StoredWorkspace> GetWorkspace(int64_t workspace_id);
  absl::Status UpdateWorkspace(int64_t workspace_id, const WorkspaceEdit& edit);

 private:
  Pool& pool_;
};

}  // namespace finetuned
