#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "db/pool.h"
#include "db/query.h"
#include "queue/placement.h"
#include "queue/run.h"

// Admission: exact under concurrency and with any number of daemons. The owner's counter is a row
// that is locked before the statement that reads it, so every batch counts on what is committed;
// CHECK constraints are the second fence. Nothing is stored for a refused run.

namespace finetuned {

// A validated CreateRun, ready to be stored.
struct NewRun {
  int64_t workspace_id = 0;
  int64_t owner_id = 0;
  Shape shape;
  Priority priority = Priority::kAuto;
  std::string name;
  std::string uid;
  // Always set: the caller's, or one made for this call so that a COMMIT in doubt can be resolved.
  std::string request_id;
  std::string request_hash;
  // Serialised RunSpec.
  std::string spec;
  std::string model;
  std::string experiment_path;
  // Name of the model that the run registers a version of; empty for none.
  std::string register_to;
  // The run whose weights it starts from; 0 for none.
  int64_t source_run_id = 0;
  // A JSON object of strings.
  std::string labels_json;
  int max_retries = 0;
  // 0: no limit.
  int64_t max_run_seconds = 0;
  int64_t max_queue_seconds = 0;
  int checkpoints_kept = -1;
};

// A batch of them; each is shared with whoever waits for its answer.
using NewRuns = std::vector<std::shared_ptr<const NewRun>>;

// Runs that a refusal names. It travels in a header, of which clients take 8 KiB; GetQuota names
// more.
inline constexpr int kShownHolders = 20;

struct Admission {
  enum class Outcome {
    kAdmitted,
    // The same request was admitted before; run_id is that run's.
    kReplayed,
    // The request_id was seen with another body.
    kRequestIdReused,
    // The name is or was in use.
    kNameTaken,
    // The model it would register is another owner's.
    kModelTaken,
    // `active` of `active_limit` are in use.
    kQuotaReached,
  };
  Outcome outcome = Outcome::kAdmitted;
  int64_t run_id = 0;
  // With Resume: the run's.
  int64_t owner_id = 0;
  int active = 0;
  int active_limit = 0;
  // With kQuotaReached: names of the oldest runs that hold the quota, at most kShownHolders + 1.
  std::shared_ptr<const std::vector<std::string>> holders;
  // With kAdmitted by Admit.
  absl::Time create_time;
  std::string experiment_uid;
};

struct QuotaLimits {
  // Runs in PENDING to TERMINATING; more are refused.
  int active = 10;
  // Runs queued or held by workers; more wait outside the queue. Nothing: no limit.
  std::optional<int> holding;
};

class AdmissionStore {
 public:
  // The limits hold for owners that have none of their own. The pool must outlive the store.
  AdmissionStore(Pool* pool, const QuotaLimits& limits) : pool_(*pool), limits_(limits) {}

  // Admits a batch in one transaction, in the order of the items. A COMMIT in doubt is resolved by
  // running the batch again: what was stored is recognised by its request_id.
  absl::StatusOr<std::vector<absl::StatusOr<Admission>>> Admit(const NewRuns& runs);

  // Which of these would be refused for the quota as things stand: kQuotaReached for those, nothing
  // for others, which only Admit can answer. Locks and writes nothing. Who has no slot free while
  // this looks is refused rightly; the names of the holders are read a little later.
  absl::StatusOr<std::vector<absl::StatusOr<std::optional<Admission>>>> FindRefused(
      const NewRuns& runs);

  // Admits a paused run again: kAdmitted or kQuotaReached. NOT_FOUND, and the errors of
  // CheckResume.
  absl::StatusOr<Admission> Resume(int64_t run_id);

  // How many rows DeleteOldRequests takes with a statement, and its statements in a call: more than
  // come in a minute.
  static constexpr int kForgottenBatch = 10'000;
  static constexpr int kForgottenBatches = 200;

  // Forgets request ids that are older, the oldest first.
  absl::Status DeleteOldRequests(absl::Duration age);

  // Queues runs that wait outside for their owner's holding limit, or for the time of their next
  // attempt, and may come in now. Transactions that free a slot do the same for their owners; this
  // is for limits that were raised and times that are over. Returns how many were queued.
  absl::StatusOr<int> ReleaseRuns();
  // The same for owners whose limit was taken away. To be called now and then.
  absl::StatusOr<int> ReleaseStrandedRuns();

  // How many owners have a counter that differs from their runs; not zero is a bug.
  absl::StatusOr<int> CountWrongCounters();

 private:
  // After the rows that locked the owners.
  absl::Status AdmitInTransaction(pqxx::transaction_base& tx, const pqxx::result& owners,
                                  const NewRuns& runs,
                                  std::vector<absl::StatusOr<Admission>>* results);

  absl::StatusOr<int> ReleaseRunsOf(const Query& owners_query);

  Pool& pool_;
  const QuotaLimits limits_;
};

}  // namespace finetuned
