#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "db/pool.h"
#include "db/query.h"
#include "queue/placement.h"
#include "queue/run.h"

// Workers, their sessions, and the leases they hold (queue/lease.h tells the design).

namespace finetuned {

struct AttemptId {
  int64_t run_id = 0;
  int64_t epoch = 0;
};
inline bool operator<(const AttemptId& a, const AttemptId& b) {
  return a.run_id != b.run_id ? a.run_id < b.run_id : a.epoch < b.epoch;
}

// What a worker says of itself.
struct WorkerInfo {
  std::string name;
  std::string boot_id;
  std::string version;
  Shape capacity;
  // A JSON object of strings.
  std::string labels_json;
};

struct OpenedSession {
  int64_t session = 0;
  // Listed attempts whose leases are the new session's now.
  std::vector<AttemptId> kept;
  // Attempts that the worker should have and did not list: they are gone.
  std::vector<AttemptId> orphaned;
};

// What a worker needs to know of a lease.
struct LeasedRun {
  AttemptId attempt;
  std::string workspace;
  std::string name;
  std::string spec;
  std::string experiment_path;
  std::string resume_from;
  // Listed checkpoints, newest first, where only some are kept.
  std::vector<std::string> checkpoints;
  // Whether it registers a model when it completes.
  bool registers = false;
  StopKind stop_requested = StopKind::kNone;
  int64_t acked_report = 0;
  // From admission to this lease.
  absl::Duration waited;
};

// All leases of one worker.
struct RenewalItem {
  int64_t session = 0;
  std::vector<AttemptId> attempts;
  bool draining = false;
};

struct RenewalResult {
  // False: a newer session of the worker has taken over.
  bool session_is_current = true;
  // The attempts that are held, with what is wanted of each; those missing are lost.
  std::map<AttemptId, StopKind> held;
};

// A session, and the attempts that its worker has.
struct SessionHolds {
  int64_t session = 0;
  std::vector<AttemptId> attempts;
};

// How a worker that asks for runs stands.
struct Standing {
  // Whether it may get something new: not while it is drained or in quarantine.
  bool may_have_more = false;
  // Its quarantine is over, and it gets one attempt at a time until one has gone well.
  bool on_trial = false;
  // Leases of its session that it does not list: they were granted in an answer that was lost.
  std::vector<LeasedRun> unlisted;
};

// What a worker that may have more can take.
struct Claim {
  int64_t session = 0;
  bool on_trial = false;
  Shape free;
  size_t max_count = 1;
};

// What claims have come to.
struct Acquisition {
  struct Grant {
    std::vector<LeasedRun> leases;
    // There were runs for it, and it got none: the session is to be looked at again.
    bool refused = false;
  };
  // One for each claim.
  std::vector<Grant> grants;
  // Whether as much as goes into one call was granted: there may be more.
  bool full = false;
};

class LeaseStore {
 public:
  // Runs that one call of Acquire grants at most.
  static constexpr size_t kMaxGranted = 256;

  // `lease_duration` is how long a lease lives without a renewal (reassign).
  LeaseStore(Pool* pool, absl::Duration lease_duration)
      : pool_(*pool), lease_duration_(lease_duration) {}

  // Opens a session, which ends the one before of the same worker.
  absl::StatusOr<OpenedSession> OpenSession(const WorkerInfo& worker,
                                            const std::vector<AttemptId>& attempts);

  // Looks at sessions that ask for runs, each with what its worker has; in their order. A session's
  // own error: FAILED_PRECONDITION `SESSION_SUPERSEDED`.
  absl::StatusOr<std::vector<absl::StatusOr<Standing>>> Check(
      const std::vector<SessionHolds>& sessions);

  // Grants leases on what fits, the claims in their order, at most kMaxGranted in all. A session
  // that stands otherwise than its claim says gets nothing. `thorough` ignores the low-water hints,
  // which finds runs that came in behind them; to be asked for about once a second.
  absl::StatusOr<Acquisition> Acquire(const std::vector<Claim>& claims, bool thorough);

  // In the order of the attempts. Those whose run has gone on are left out.
  absl::StatusOr<std::vector<LeasedRun>> Describe(const std::vector<AttemptId>& attempts);

  // Takes a worker out of use, or back; whether there is one of that name.
  absl::StatusOr<bool> RequestDrain(const std::string& worker, bool drain);

  // Renews a batch; results in the order of the items. Each session at most once.
  absl::StatusOr<std::vector<absl::StatusOr<RenewalResult>>> Renew(
      const std::vector<RenewalItem>& items);

  // Expired leases, after giving all their full time again where nobody could renew for a while.
  // `looking_interval` is how often this is called.
  absl::StatusOr<std::vector<AttemptId>> FindExpired(absl::Duration looking_interval);

  // Runs whose wall-clock limit is over and that were not told yet.
  absl::StatusOr<std::vector<int64_t>> FindOverdue();

  // Runs that have waited to start for the first time longer than they may.
  absl::StatusOr<std::vector<int64_t>> FindOverlongWaits();

 private:
  struct LaneKey {
    int shape_id;
    int priority;
    bool operator<(const LaneKey& other) const {
      return shape_id != other.shape_id ? shape_id < other.shape_id : priority < other.priority;
    }
  };

  absl::StatusOr<std::vector<int64_t>> FindRuns(const Query& query);
  absl::Status LoadShapes();
  // The look at the first of each lane that may have something for one of the claims.
  Prelude LookInto(const std::vector<Claim>& claims, bool thorough);
  // What it found.
  std::vector<Candidate> Found(const pqxx::result& rows);

  Pool& pool_;
  const absl::Duration lease_duration_;

  Mutex mutex_;
  // Shapes never change, so what is known stays true; new ones are found by a thorough look.
  std::map<int, Shape> shapes_ ABSL_GUARDED_BY(mutex_);
  // The smallest position that may still be queued in a lane, as far as this daemon knows. Only an
  // accelerator.
  std::map<LaneKey, int64_t> hints_ ABSL_GUARDED_BY(mutex_);
};

// The error of every call of a session that is not its worker's current one.
absl::Status SessionSupersededError();

}  // namespace finetuned
