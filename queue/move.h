#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "queue/event.h"
#include "queue/retry_policy.h"
#include "queue/run.h"

// What is to be written when a run moves: pure decisions, each over a run that is read under its
// row's lock. db/transitions.h carries them out, with one statement.

namespace finetuned {

// One run's next row, and the event that says so.
struct Move {
  int64_t run_id = 0;
  RunState from = RunState::kPending;
  RunState to = RunState::kPending;
  EventType event = EventType::kOther;
  // Of the event.
  std::string message;
  std::string state_reason;
  // With FAILED and REQUEUED.
  std::optional<Failure> failure;
  // What a worker that holds it is told.
  StopKind stop_requested = StopKind::kNone;
  // Whether its attempt ends with it, and its lease: what of it goes into the history, and how long
  // the run waits for the next.
  bool ends_attempt = false;
  int64_t worker_id = 0;
  Attribution attribution = Attribution::kUnknown;
  bool worker_lost = false;
  absl::Duration retry_delay;
  bool drops_checkpoint = false;
  // Registered with COMPLETED.
  std::optional<ModelFiles> model;
};

// The end of an attempt, as the worker session that holds it tells it after its last report.
// FAILED_PRECONDITION `LEASE_LOST`, `REPORTS_MISSING`.
absl::StatusOr<Move> MoveAtCompletion(const RunSnapshot& run, int64_t session, int64_t epoch,
                                      int64_t last_report, const AttemptEnd& end,
                                      const RetryLimits& limits);

// What shows that an attempt is lost.
struct LossEvidence {
  int64_t epoch = 0;
  // Its lease is expired; else it is not a lease of this session, which is its worker's newest and
  // does not know it.
  bool by_expiry = false;
  int64_t except_session = 0;
  // For a person.
  std::string why;
};

// The loss of an attempt, if the evidence still holds; nothing where it does not.
absl::StatusOr<std::optional<Move>> MoveAtLoss(const RunSnapshot& run, const LossEvidence& evidence,
                                               const RetryLimits& limits);

// A cancel: of a run that nothing holds at once, of another by its worker. Nothing is to be done
// for one that is terminal or being canceled. `message` is the reason of whoever asked.
absl::StatusOr<std::optional<Move>> MoveAtCancel(const RunSnapshot& run,
                                                 const std::string& message);

// A pause, the same way; the errors are those of DecidePause.
absl::StatusOr<std::optional<Move>> MoveAtPause(const RunSnapshot& run, int paused_count,
                                                const std::string& message);

// A stop that the service itself asks for; nothing for a run that is not held or was told to stop
// before.
absl::StatusOr<std::optional<Move>> MoveAtStop(const RunSnapshot& run, StopKind kind,
                                               const std::string& message);

// The end of a wait for the first start that was too long; nothing where it was not.
absl::StatusOr<std::optional<Move>> MoveAtQueueTimeout(const RunSnapshot& run);

}  // namespace finetuned
