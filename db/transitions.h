#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "db/pool.h"
#include "queue/move.h"
#include "queue/quarantine.h"
#include "queue/report.h"
#include "queue/retry_policy.h"
#include "queue/run.h"

// Everything that moves a run after its admission, except the grant of its lease. Each method is
// one transaction that locks owners, then runs, each in the order of their ids; decides by the pure
// functions of queue/ on what it then reads; and writes with one statement. What a worker writes is
// fenced by its lease in that same transaction.

namespace finetuned {

// How failures are serialised; the daemon knows the messages, this room does not.
struct FailureEncoder {
  // A RunEvent with the failure as its detail.
  std::function<std::string(const Failure&)> event_detail;
  // A Failure.
  std::function<std::string(const Failure&)> failure;
};

// The reports of one attempt.
struct ReportItem {
  int64_t session = 0;
  int64_t run_id = 0;
  int64_t epoch = 0;
  std::vector<IncomingReport> reports;
};

struct ReportResult {
  int64_t acked_report = 0;
  bool stored = false;
  RunState from = RunState::kRunning;
  RunState to = RunState::kRunning;
};

// The end of one attempt.
struct CompletionItem {
  int64_t session = 0;
  int64_t run_id = 0;
  int64_t epoch = 0;
  int64_t last_report = 0;
  AttemptEnd end;
};

struct CompletionResult {
  RunState from = RunState::kRunning;
  RunState to = RunState::kRunning;
  // False when this end was stored before.
  bool stored = false;
};

struct PauseResult {
  RunState from = RunState::kPending;
  RunState to = RunState::kPending;
  // Whether it is told to its worker.
  bool told = false;
};

struct CancelResult {
  enum class Outcome { kStopped, kStopping, kAlreadyTerminal };
  Outcome outcome = Outcome::kStopped;
  RunState from = RunState::kPending;
  RunState to = RunState::kPending;
};

// A run that was moved.
struct Moved {
  RunState from = RunState::kRunning;
  RunState to = RunState::kPending;
};

class TransitionStore {
 public:
  struct Options {
    FailureEncoder encoder;
    RetryLimits retries;
    QuarantinePolicy quarantine;
    // Of owners that have none of their own; nothing for no limit.
    std::optional<int> holding_limit;
  };

  TransitionStore(Pool* pool, Options options) : pool_(*pool), options_(std::move(options)) {}

  // Stores reports; results in the order of the items. Each attempt at most once per batch. Per
  // item: LEASE_LOST, INVALID_ARGUMENT.
  absl::StatusOr<std::vector<absl::StatusOr<ReportResult>>> Report(
      const std::vector<ReportItem>& items);

  // Ends attempts. Repeating it is harmless. Per item: LEASE_LOST, REPORTS_MISSING.
  absl::StatusOr<std::vector<absl::StatusOr<CompletionResult>>> Complete(
      const std::vector<CompletionItem>& items);

  // Asks runs to stop for good; `message` is that of the event. Runs that do not exist: NOT_FOUND
  // each.
  absl::StatusOr<std::vector<absl::StatusOr<CancelResult>>> Cancel(
      const std::vector<int64_t>& run_ids, const std::string& message);

  // Asks a run to pause; `message` is that of the event. NOT_FOUND, and the errors of DecidePause.
  absl::StatusOr<PauseResult> Pause(int64_t run_id, const std::string& message);

  // Takes an attempt as lost, if the evidence still holds after the row lock, by the database's
  // clock. Nothing is returned, and nothing done, for a run that moved on meanwhile.
  absl::StatusOr<std::optional<Moved>> Lose(int64_t run_id, const LossEvidence& evidence);

  // Tells a run whose wall-clock limit is over to stop. Nothing is returned when it was told
  // before or has moved on.
  absl::StatusOr<std::optional<Moved>> StopForDeadline(int64_t run_id);

  // Fails a run that has waited to start for the first time longer than it may. Nothing is returned
  // when it has moved on.
  absl::StatusOr<std::optional<Moved>> FailOverlongWait(int64_t run_id);

  // Asks an attempt to stop, with a checkpoint, because its worker is drained: the run is queued
  // again. Nothing is returned when it was told to stop before or has moved on.
  absl::StatusOr<std::optional<Moved>> StopForDrain(int64_t run_id, int64_t epoch,
                                                    const std::string& worker);

 private:
  // After a commit: workers that have just lost attempts may have lost too many.
  void JudgeWorkers(const std::set<int64_t>& worker_ids);

  absl::StatusOr<std::optional<Moved>> AskRunToStop(
      const char* name, int64_t run_id, StopKind kind, const std::string& message,
      const std::function<bool(const RunSnapshot&)>& still);

  Pool& pool_;
  const Options options_;
};

}  // namespace finetuned
