#include "queue/move.h"

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "queue/pause.h"
#include "queue/report.h"

namespace finetuned {
namespace {

// A stop of a run that a worker holds: told to the worker with its next renewal.
absl::StatusOr<Move> AskToStop(const RunSnapshot& run, StopKind kind, const std::string& message) {
  Move move;
  move.run_id = run.run_id;
  move.from = run.state;
  move.to = run.state;
  if (run.state != RunState::kTerminating) {
    FT_ASSIGN_OR_RETURN(move.to, Apply(run.state, RunTransition::kTerminate));
  }
  move.event = EventType::kStopRequested;
  move.message = message;
  move.state_reason = message;
  move.stop_requested = kind;
  return move;
}

// What becomes at once of a run that nothing holds.
absl::StatusOr<Move> MoveAtOnce(const RunSnapshot& run, RunTransition transition, EventType event,
                                const std::string& message, const std::string& reason) {
  Move move;
  move.run_id = run.run_id;
  move.from = run.state;
  FT_ASSIGN_OR_RETURN(move.to, Apply(run.state, transition));
  move.event = event;
  move.message = message;
  move.state_reason = reason;
  return move;
}

absl::StatusOr<Move> MoveAtAttemptEnd(const RunSnapshot& run, const AttemptEnd& end,
                                      const RetryLimits& limits) {
  AttemptDecision decision = DecideAttemptEnd(run, end, limits);
  Move move;
  move.run_id = run.run_id;
  move.from = run.state;
  FT_ASSIGN_OR_RETURN(move.to, Apply(run.state, decision.transition));
  move.event = decision.event;
  move.ends_attempt = true;
  if (!run.attempts.empty()) move.worker_id = run.attempts.back().worker_id;
  move.attribution = decision.attribution;
  move.worker_lost = end.lost;
  move.retry_delay = decision.retry_delay;
  move.drops_checkpoint = decision.drops_checkpoint;
  if (run.registers && decision.event == EventType::kCompleted) move.model = end.model;
  if (decision.event == EventType::kFailed || decision.event == EventType::kRequeued) {
    move.failure = std::move(decision.failure);
  }
  if (decision.event == EventType::kFailed || decision.event == EventType::kRequeued ||
      decision.event == EventType::kPaused) {
    move.state_reason = decision.message;
  }
  move.message = std::move(decision.message);
  return move;
}

}  // namespace

absl::StatusOr<Move> MoveAtCompletion(const RunSnapshot& run, int64_t session, int64_t epoch,
                                      int64_t last_report, const AttemptEnd& end,
                                      const RetryLimits& limits) {
  if (!run.HeldBy(session, epoch)) return LeaseLostError(run.run_id, epoch);
  if (run.acked_report < last_report) {
    return MakeError(absl::StatusCode::kFailedPrecondition, "REPORTS_MISSING",
                     absl::StrCat("report ", last_report, " of run ", run.run_id,
                                  " is not stored; the last is ", run.acked_report));
  }
  return MoveAtAttemptEnd(run, end, limits);
}

absl::StatusOr<std::optional<Move>> MoveAtLoss(const RunSnapshot& run, const LossEvidence& evidence,
                                               const RetryLimits& limits) {
  if (run.epoch != evidence.epoch || run.lease_epoch != evidence.epoch || !IsHeld(run.state)) {
    return std::nullopt;
  }
  if (evidence.by_expiry ? !run.lease_expired : run.session_id == evidence.except_session) {
    return std::nullopt;
  }
  AttemptEnd end;
  end.lost = true;
  end.failure.code = "ATTEMPT_LOST";
  end.failure.message = evidence.why;
  return MoveAtAttemptEnd(run, end, limits);
}

absl::StatusOr<std::optional<Move>> MoveAtCancel(const RunSnapshot& run,
                                                 const std::string& message) {
  if (IsTerminal(run.state) || run.stop_requested == StopKind::kCancel) return std::nullopt;
  if (IsHeld(run.state)) return AskToStop(run, StopKind::kCancel, message);
  return MoveAtOnce(run, RunTransition::kStop, EventType::kCanceled, CanceledMessage(), message);
}

absl::StatusOr<std::optional<Move>> MoveAtPause(const RunSnapshot& run, int paused_count,
                                                const std::string& message) {
  FT_ASSIGN_OR_RETURN(const PauseEffect effect, DecidePause(run, paused_count));
  switch (effect) {
    case PauseEffect::kNone: return std::nullopt;
    case PauseEffect::kStopping: return AskToStop(run, StopKind::kPause, message);
    case PauseEffect::kPaused:
      return MoveAtOnce(run, RunTransition::kPause, EventType::kPaused,
                        PausedMessage(run.has_checkpoint), message);
  }
  return std::nullopt;
}

absl::StatusOr<std::optional<Move>> MoveAtStop(const RunSnapshot& run, StopKind kind,
                                               const std::string& message) {
  if (!IsHeld(run.state) || run.stop_requested != StopKind::kNone) return std::nullopt;
  return AskToStop(run, kind, message);
}

absl::StatusOr<std::optional<Move>> MoveAtQueueTimeout(const RunSnapshot& run) {
  if (!run.queue_overdue) return std::nullopt;
  Failure failure = QueueTimeout();
  FT_ASSIGN_OR_RETURN(Move move, MoveAtOnce(run, RunTransition::kFail, EventType::kFailed,
                                            failure.message, failure.message));
  move.failure = std::move(failure);
  return move;
}

}  // namespace finetuned
