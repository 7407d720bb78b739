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

// What a claim has come to.
struct Acquisition {
  std::vector<AttemptId> granted;
  // Whether the queue was looked at; it is not for a worker that gets nothing new.
  bool looked = false;
};

class LeaseStore {
 public:
  // `lease_duration` is how long a lease lives without a renewal (reassign).
  LeaseStore(Pool* pool, absl::Duration lease_duration)
      : pool_(*pool), lease_duration_(lease_duration) {}

  // Opens a session, which ends the one before of the same worker.
  absl::StatusOr<OpenedSession> OpenSession(const WorkerInfo& worker,
                                            const std::vector<AttemptId>& attempts);

  // Grants leases on what fits, at most max_count; first those the session holds and does not list.
  // `thorough` ignores the low-water hints, which finds runs that came in behind them; to be asked
  // for about once a second. FAILED_PRECONDITION `SESSION_SUPERSEDED`.
  absl::StatusOr<Acquisition> Acquire(int64_t session, const Shape& free, size_t max_count,
                                      const std::vector<AttemptId>& held, bool thorough);

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
  absl::Status LoadShapes(pqxx::transaction_base& tx);
  std::vector<Candidate> Peek(pqxx::transaction_base& tx, const Shape& free, size_t max_count,
                              bool thorough, std::map<LaneKey, int64_t>* seen_minimum);

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
