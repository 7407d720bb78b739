#include "queue/retry_policy.h"

#include "absl/strings/str_cat.h"

namespace finetuned {
namespace {

// sysexits.h: a usage error, bad data, a bad configuration. The trainer contract uses them for what
// a user must mend.
constexpr int kExitUsage = 64;
constexpr int kExitData = 65;
constexpr int kExitConfig = 78;
// sysexits.h EX_TEMPFAIL: try again. The trainer contract's answer to a stop, too.
constexpr int kExitTemporary = 75;

bool HasExit(const AttemptEnd& end, int code) { return end.exit_code == code; }

bool IsUserError(const AttemptEnd& end) {
  return end.failure.attribution == Attribution::kUser || HasExit(end, kExitUsage) ||
         HasExit(end, kExitData) || HasExit(end, kExitConfig);
}

bool IsInfrastructureLoss(const AttemptEnd& end) {
  return end.lost || (end.signal != 0 && !end.signaled_by_worker) || HasExit(end, kExitTemporary) ||
         end.failure.attribution == Attribution::kInfrastructure ||
         end.failure.attribution == Attribution::kNetwork ||
         end.failure.attribution == Attribution::kStalled;
}

// How it ended, in words, for failures that say nothing themselves.
std::string Describe(const AttemptEnd& end) {
  if (end.lost) return "The worker was lost.";
  if (end.signal != 0) return absl::StrCat("The trainer was ended by signal ", end.signal, ".");
  if (end.exit_code.has_value()) {
    return absl::StrCat("The trainer exited with status ", *end.exit_code, ".");
  }
  return "The trainer ended.";
}

Failure MakeFailure(const AttemptEnd& end, const std::string& code, Attribution attribution,
                    const std::string& message) {
  Failure failure = end.failure;
  if (failure.code.empty()) failure.code = code;
  if (failure.message.empty()) failure.message = message;
  failure.attribution = attribution;
  failure.exit_code = end.exit_code;
  failure.signal = end.signal;
  return failure;
}

AttemptDecision Fail(AttemptDecision decision, Failure failure) {
  decision.transition = RunTransition::kFail;
  decision.event = EventType::kFailed;
  decision.message = failure.message;
  decision.failure = std::move(failure);
  return decision;
}

AttemptDecision Requeue(AttemptDecision decision, const RunSnapshot& run, Failure failure,
                        const std::string& why) {
  if (run.overdue) {
    failure.code = "MAX_RUN_TIME";
    failure.message = absl::StrCat("The run reached its scheduling.max_run_time. ", why);
    return Fail(std::move(decision), std::move(failure));
  }
  decision.failure = std::move(failure);
  const bool has_checkpoint =
      decision.drops_checkpoint ? run.has_older_checkpoint : run.has_checkpoint;
  if (run.stop_requested == StopKind::kPause) {
    decision.transition = RunTransition::kPause;
    decision.event = EventType::kPaused;
    decision.message = PausedMessage(has_checkpoint);
    return decision;
  }
  decision.transition = RunTransition::kRequeue;
  decision.event = EventType::kRequeued;
  decision.message =
      absl::StrCat(why, !has_checkpoint ? " The next attempt starts from the beginning."
                        : decision.drops_checkpoint
                            ? " The next attempt continues from the checkpoint before it."
                            : " The next attempt continues from the newest checkpoint.");
  return decision;
}

}  // namespace

AttemptDecision DecideAttemptEnd(const RunSnapshot& run, const AttemptEnd& end, int infra_retries) {
  AttemptDecision decision;
  decision.trainer_failures = run.trainer_failures;
  decision.infra_losses = run.infra_losses;
  // A cancel that was acknowledged wins over everything that comes after it, a finished training
  // included.
  if (run.stop_requested == StopKind::kCancel) {
    decision.transition = RunTransition::kStop;
    decision.event = EventType::kCanceled;
    decision.message = CanceledMessage();
    return decision;
  }
  if (end.finished && run.registers && !end.model.has_value()) {
    // Trained, and its weights are not where they were asked for. They can still be put there.
    AttemptEnd unregistered = end;
    unregistered.finished = false;
    unregistered.lost = true;
    unregistered.failure.code = "MODEL_NOT_REGISTERED";
    unregistered.failure.message = "The worker has not put the final weights in their place.";
    return DecideAttemptEnd(run, unregistered, infra_retries);
  }
  if (end.finished) {
    decision.transition = RunTransition::kComplete;
    decision.event = EventType::kCompleted;
    decision.message = CompletedMessage();
    return decision;
  }
  if (run.stop_requested == StopKind::kDeadline) {
    return Fail(std::move(decision),
                MakeFailure(end, "MAX_RUN_TIME", Attribution::kUser,
                            "The run reached its scheduling.max_run_time. Raise it, or continue "
                            "from the newest checkpoint with custom_weights_path."));
  }
  if (end.out_of_memory || end.failure.attribution == Attribution::kOutOfMemory) {
    return Fail(std::move(decision),
                MakeFailure(end, "OUT_OF_MEMORY", Attribution::kOutOfMemory,
                            "The trainer ran out of memory. Lower context_length, or ask for more "
                            "memory in compute.memory_bytes."));
  }
  // Only the worker's word, before it has started a trainer: a trainer may take what fails it, such
  // as memory that ran out, for damage. So nothing was saved in between, and it ends by itself:
  // each time there is one less.
  const bool never_started = !end.exit_code.has_value() && end.signal == 0 && run.acked_report == 0;
  if (end.failure.code == kCheckpointDamaged && run.has_checkpoint && never_started) {
    decision.drops_checkpoint = true;
    return Requeue(
        std::move(decision), run,
        MakeFailure(end, kCheckpointDamaged, Attribution::kInfrastructure, ""),
        absl::StrCat("Attempt ", run.epoch,
                     " could not go on from the newest checkpoint: ", end.failure.message));
  }
  if (IsUserError(end)) {
    return Fail(std::move(decision),
                MakeFailure(end, "INVALID_INPUT", Attribution::kUser, Describe(end)));
  }
  const bool stopped_by_worker =
      run.stop_requested != StopKind::kNone || end.stop == StopKind::kPreempt;
  // A worker that stopped its trainer because it had lost the service is a loss like any other.
  if (stopped_by_worker && !end.lost && end.failure.attribution != Attribution::kInfrastructure &&
      end.failure.attribution != Attribution::kStalled) {
    return Requeue(std::move(decision), run,
                   MakeFailure(end, "PREEMPTED", Attribution::kInfrastructure, Describe(end)),
                   "The attempt was stopped in favour of another or because its worker drains.");
  }
  if (IsInfrastructureLoss(end)) {
    ++decision.infra_losses;
    const Attribution attribution = end.failure.attribution == Attribution::kStalled
                                        ? Attribution::kStalled
                                        : Attribution::kInfrastructure;
    Failure failure = MakeFailure(end, "ATTEMPT_LOST", attribution, Describe(end));
    if (decision.infra_losses > infra_retries) {
      failure.code = "INFRASTRUCTURE_RETRIES_EXHAUSTED";
      failure.message =
          absl::StrCat("The run lost ", decision.infra_losses,
                       " attempts to its infrastructure. The last: ", failure.message);
      return Fail(std::move(decision), std::move(failure));
    }
    const std::string why =
        absl::StrCat("Attempt ", run.epoch, " was lost (", decision.infra_losses, " of at most ",
                     infra_retries, "): ", failure.message);
    return Requeue(std::move(decision), run, std::move(failure), why);
  }
  if (HasExit(end, 0)) {
    return Fail(std::move(decision),
                MakeFailure(end, "EXITED_EARLY", Attribution::kInternal,
                            "The trainer exited without saying that training is finished."));
  }
  ++decision.trainer_failures;
  Failure failure = MakeFailure(end, "TRAINER_FAILED", Attribution::kInternal, Describe(end));
  if (decision.trainer_failures > run.max_retries) {
    return Fail(std::move(decision), std::move(failure));
  }
  const std::string why =
      absl::StrCat("Attempt ", run.epoch, " failed (retry ", decision.trainer_failures, " of ",
                   run.max_retries, "): ", failure.message);
  return Requeue(std::move(decision), run, std::move(failure), why);
}

}  // namespace finetuned
