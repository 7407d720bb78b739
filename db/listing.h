#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "db/pool.h"
#include "db/reads.h"

// Which runs and experiments a caller sees, page by page. Every way to list has an index: a page
// costs as much among a million runs as among a hundred.

namespace finetuned {

struct RunFilter {
  std::vector<RunState> states;
  // Names or uids; empty for all.
  std::vector<std::string> names;
  // Exclusive.
  absl::Time before = absl::InfiniteFuture();
  absl::Time after = absl::InfinitePast();
  // E-mail addresses of owners; empty for all.
  std::vector<std::string> user_emails;
  // Path or uid; empty for all.
  std::string experiment;
  // Name or uid of the run they started from; empty for all.
  std::string source_run;
  // All of these.
  std::map<std::string, std::string> labels;
  bool newest_first = true;
};

// Where a page begins: the last row of the page before.
struct RunPageKey {
  absl::Time create_time;
  int64_t run_id = 0;
};

// An experiment with what a viewer sees in it.
struct StoredExperiment {
  int64_t experiment_id = 0;
  std::string workspace;
  std::string path;
  std::string uid;
  absl::Time create_time;
  int64_t run_count = 0;
  int64_t active_count = 0;
  int64_t paused_count = 0;
  int64_t completed_count = 0;
  int64_t failed_count = 0;
  int64_t stopped_count = 0;
  // Name and time of the newest run; empty and absent without one.
  std::string latest_run;
  std::optional<absl::Time> latest_run_create_time;
};

class Listing {
 public:
  explicit Listing(Pool* pool) : pool_(*pool) {}

  // The ids of one page, with the keys to go on from; `after` is nothing for the first.
  absl::StatusOr<std::vector<RunPageKey>> ListRuns(const Viewer& viewer, const RunFilter& filter,
                                                   const std::optional<RunPageKey>& after,
                                                   int limit);

  // The id of an experiment by path or uid, if the viewer sees a run in it, or the whole workspace.
  absl::StatusOr<std::optional<int64_t>> FindExperiment(const Viewer& viewer,
                                                        const std::string& name);
  // Newest first; those older than `before`, which is 0 for the first page.
  absl::StatusOr<std::vector<int64_t>> ListExperiments(const Viewer& viewer, int64_t before,
                                                       int limit);
  // In the order of the ids.
  absl::StatusOr<std::vector<StoredExperiment>> GetExperiments(const Viewer& viewer,
                                                               const std::vector<int64_t>& ids);
  // The oldest runs of an experiment that are not terminal and that are the viewer's to change.
  absl::StatusOr<std::vector<int64_t>> CancelableRuns(const Viewer& viewer, int64_t experiment_id,
                                                      int limit);

 private:
  Pool& pool_;
};

}  // namespace finetuned
