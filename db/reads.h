#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "db/admission.h"
#include "db/pool.h"
#include "queue/event.h"
#include "queue/placement.h"
#include "queue/run.h"

// What the API reads. Single statements outside transactions; nothing here changes anything.

namespace finetuned {

// Whose eyes look: what a principal may see is decided by the rows' owners.
struct Viewer {
  int64_t workspace_id = 0;
  int64_t owner_id = 0;
  // Whether it sees every run of the workspace: an admin does, and everybody where the workspace
  // shares runs.
  bool sees_workspace = false;
};

struct StoredAttempt {
  int64_t epoch = 0;
  std::string worker;
  absl::Time create_time;
  std::optional<absl::Time> start_time;
  std::optional<absl::Time> end_time;
  std::string end_reason;
  Attribution attribution = Attribution::kUnknown;
  // To its end, or to now.
  absl::Duration held;
  Shape shape;
  // Its newest; empty without one.
  std::string checkpoint;
};

struct StoredCheckpoint {
  // Serialised Checkpoint without create_time and attempt.
  std::string detail;
  absl::Time create_time;
  int64_t epoch = 0;
};

struct StoredWorker {
  std::string name;
  bool has_session = false;
  bool draining = false;
  absl::Duration seen_ago;
  absl::Time last_seen_time;
  // Attempts lost in a row, and until when it therefore gets none; absent where it is trusted.
  int loss_count = 0;
  std::optional<absl::Time> quarantine_end_time;
  std::string version;
  Shape capacity;
  Shape used;
  std::map<std::string, std::string> labels;
  int attempt_count = 0;
};

// What a worker holds.
struct StoredWorkerAttempt {
  int64_t run_id = 0;
  int64_t epoch = 0;
  std::string run;
  std::string workspace;
  int64_t workspace_id = 0;
  int64_t owner_id = 0;
  RunState state = RunState::kPending;
  absl::Time create_time;
  Shape shape;
};

// What changes about a run that somebody follows.
struct RunMark {
  int64_t last_seq = 0;
  RunState state = RunState::kPending;
  StopKind stop_requested = StopKind::kNone;
  int64_t epoch = 0;
};

// How much of the metric files of a run's attempts may be read.
struct MetricFiles {
  struct File {
    int64_t epoch = 0;
    int64_t bytes = 0;
  };
  // The run is terminal: they do not grow any more.
  bool ended = false;
  // Oldest first; those that have numbers.
  std::vector<File> files;
};

class Reader {
 public:
  explicit Reader(Pool* pool) : pool_(*pool) {}

  // The ids of names or uids that the viewer may see; 0 for the others, whether they do not exist
  // or are not its to see.
  absl::StatusOr<std::vector<int64_t>> FindRuns(const Viewer& viewer,
                                                const std::vector<std::string>& names);
  // The outcome (kReplayed or kRequestIdReused) and run of a CreateRun that came before under this
  // request id; nothing when none did.
  absl::StatusOr<std::optional<Admission>> FindCreateRequest(int64_t owner_id,
                                                             const std::string& request_id,
                                                             const std::string& request_hash);
  // The id of the run of that name whose weights the viewer may start from, deleted or not; 0 when
  // there is none.
  absl::StatusOr<int64_t> FindWeightsRun(const Viewer& viewer, const std::string& name);
  // In the order of the ids; ids that do not exist are left out.
  absl::StatusOr<std::vector<Run>> GetRuns(const std::vector<int64_t>& run_ids);
  absl::StatusOr<std::vector<Event>> ListEvents(int64_t run_id, int64_t after_seq, int limit);

  // The same of many runs, each after a number of its own, at most `limit` of each. What has
  // nothing new is not in the answer.
  absl::StatusOr<std::map<int64_t, std::vector<Event>>> ListEventsOf(
      const std::map<int64_t, int64_t>& after_seqs, int limit);
  absl::StatusOr<std::vector<StoredCheckpoint>> ListCheckpoints(int64_t run_id);
  // NOT_FOUND for a run that does not exist.
  absl::StatusOr<MetricFiles> ReadMetricFiles(int64_t run_id);
  // Newest first, at most 1,000.
  absl::StatusOr<std::vector<StoredAttempt>> ListAttempts(int64_t run_id);
  // The marks of those that exist.
  absl::StatusOr<std::map<int64_t, RunMark>> Watch(const std::vector<int64_t>& run_ids);
  // Place in its shape's queue, from 1; nothing when it waits outside for its owner's holding
  // limit.
  absl::StatusOr<std::optional<int64_t>> QueuePlace(const Run& run);
  // By name; all of them where no names are given.
  absl::StatusOr<std::vector<StoredWorker>> ListWorkers(const std::vector<std::string>& names = {});
  // What a worker holds, oldest first, at most 1,000.
  absl::StatusOr<std::vector<StoredWorkerAttempt>> AttemptsOfWorker(const std::string& name);
  // {active, limit}
  absl::StatusOr<std::pair<int, int>> GetQuota(int64_t owner_id, int default_limit);
  absl::StatusOr<std::vector<std::string>> ActiveRuns(int64_t owner_id);
  absl::StatusOr<bool> IsNameTaken(int64_t workspace_id, const std::string& name);
  absl::StatusOr<std::map<RunState, int64_t>> CountActiveRuns();
  // Workers in quarantine or on trial after it.
  absl::StatusOr<int64_t> CountQuarantined();
  // Fails where writes would.
  absl::Status CheckWritable();

 private:
  Pool& pool_;
};

}  // namespace finetuned
