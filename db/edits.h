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
  absl::Status ShareRuns(int64_t workspace_id, bool share_runs);

 private:
  Pool& pool_;
};

}  // namespace finetuned
