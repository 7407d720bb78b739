#include "queue/retry_policy.h"

#include <set>
#include <vector>

#include "absl/strings/str_cat.h"
#include "queue/doubling.h"

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

// Who has to act, told from the attempt's own word first and from how it ended then.
Attribution AttributionOf(const AttemptEnd& end) {
  const Attribution said = end.failure.attribution;
  if (end.out_of_memory || said == Attribution::kOutOfMemory) return Attribution::kOutOfMemory;
  // Whose mistake it was is the user's either way; that it is in the data, the exit status says.
  if (HasExit(end, kExitData) && (said == Attribution::kUnknown || said == Attribution::kUser)) {
    return Attribution::kData;
  }
  if (said == Attribution::kUser || said == Attribution::kData) return said;
  if (HasExit(end, kExitUsage) || HasExit(end, kExitConfig)) return Attribution::kUser;
  if (said == Attribution::kInfrastructure || said == Attribution::kNetwork ||
      said == Attribution::kStalled) {
    return said;
  }
  if (end.lost || (end.signal != 0 && !end.signaled_by_worker) || HasExit(end, kExitTemporary)) {
    return Attribution::kInfrastructure;
  }
  return Attribution::kInternal;
}

// What the attempts up to this one, which ends as `end` says, come to.
struct Tally {
  // All that the trainer itself has failed.
  int trainer_failures = 0;
  // Since a checkpoint was saved last, that attempt included: by class and in all.
  int infrastructure = 0;
  int network = 0;
  int stalls = 0;
  int in_a_row = 0;
  // The newest that took their workers down soon after they began and before they saved anything,
  // and on how many workers.
  int brief_worker_losses = 0;
  std::set<int64_t> lost_workers;
};

Tally Count(const std::vector<PastAttempt>& attempts) {
  Tally tally;
  bool since_saved = true;
  bool all_brief = true;
  for (auto attempt = attempts.rbegin(); attempt != attempts.rend(); ++attempt) {
    const Attribution who = attempt->attribution;
    if (who == Attribution::kInternal) ++tally.trainer_failures;
    // One that was stopped in favour of something else is no loss; a checkpoint of it counts.
    if (who != Attribution::kPreempted) {
      if (since_saved && who != Attribution::kUnknown) {
        ++tally.in_a_row;
        if (who == Attribution::kInfrastructure) ++tally.infrastructure;
        if (who == Attribution::kNetwork) ++tally.network;
        if (who == Attribution::kStalled) ++tally.stalls;
      }
      all_brief =
          all_brief && attempt->worker_lost && !attempt->saved && attempt->lived < kBriefLife;
      if (all_brief) {
        ++tally.brief_worker_losses;
        tally.lost_workers.insert(attempt->worker_id);
      }
    }
    if (attempt->saved) since_saved = all_brief = false;
  }
  return tally;
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
  if (run.epoch >= kMaxRunAttempts) {
    failure.code = "ATTEMPTS_EXHAUSTED";
    failure.message = absl::StrCat("The run has had ", run.epoch, " attempts. ", why);
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
  decision.message = absl::StrCat(
      why,
      !has_checkpoint             ? " The next attempt starts from the beginning"
      : decision.drops_checkpoint ? " The next attempt continues from the checkpoint before it"
                                  : " The next attempt continues from the newest checkpoint",
      decision.retry_delay > absl::ZeroDuration()
          ? absl::StrCat(", in ", absl::FormatDuration(decision.retry_delay), " at the earliest.")
          : ".");
  return decision;
}

// After a loss of infrastructure: another try, unless its class has had enough of them.
AttemptDecision RetryLoss(AttemptDecision decision, const RunSnapshot& run, const AttemptEnd& end,
                          const Tally& tally, const RetryLimits& limits) {
  Failure failure = MakeFailure(end, "ATTEMPT_LOST", decision.attribution, Describe(end));
  const auto give_up = [&](const char* code, const std::string& why) {
    failure.code = code;
    failure.message = absl::StrCat(why, " The last: ", failure.message);
    return Fail(std::move(decision), std::move(failure));
  };
  if (limits.worker_losses > 0 && tally.brief_worker_losses >= limits.worker_losses &&
      tally.lost_workers.size() > 1) {
    return give_up(
        "TAKES_WORKERS_DOWN",
        absl::StrCat("The last ", tally.brief_worker_losses,
                     " attempts were lost with their workers, ", tally.lost_workers.size(),
                     " different ones, soon after they began: the run is likely to be "
                     "the cause. Compare what it needs with what it asks for in "
                     "compute."));
  }
  int losses = tally.infrastructure;
  int limit = limits.infrastructure;
  const char* what = "lost";
  if (decision.attribution == Attribution::kNetwork) {
    losses = tally.network;
    what = "lost to the network";
  } else if (decision.attribution == Attribution::kStalled) {
    losses = tally.stalls;
    limit = limits.stalls;
    what = "lost to a trainer that hung";
  }
  if (losses > limit) {
    return give_up(
        decision.attribution == Attribution::kStalled ? "STALLS_EXHAUSTED"
                                                      : "INFRASTRUCTURE_RETRIES_EXHAUSTED",
        absl::StrCat(losses, " attempts were ", what, " without a new checkpoint in between."));
  }
  const std::string why = absl::StrCat("Attempt ", run.epoch, " was ", what, " (", losses,
                                       " of at most ", limit, "): ", failure.message);
  decision.retry_delay = RetryDelay(tally.in_a_row, limits);
  return Requeue(std::move(decision), run, std::move(failure), why);
}

}  // namespace

absl::Duration RetryDelay(int losses_in_a_row, const RetryLimits& limits) {
  if (losses_in_a_row <= 1) return absl::ZeroDuration();
  return Doubled(limits.first_delay, losses_in_a_row - 2, limits.longest_delay);
}

Failure QueueTimeout() {
  Failure failure;
  failure.code = "QUEUE_TIMEOUT";
  failure.message =
      "The run has waited to start for its scheduling.max_queue_time. Raise it, or ask for less in "
      "compute.";
  failure.attribution = Attribution::kUser;
  return failure;
}

AttemptDecision DecideAttemptEnd(const RunSnapshot& run, const AttemptEnd& end,
                                 const RetryLimits& limits) {
  AttemptDecision decision;
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
    unregistered.failure.attribution = Attribution::kInfrastructure;
    unregistered.failure.code = "MODEL_NOT_REGISTERED";
    unregistered.failure.message = "The worker has not put the final weights in their place.";
    return DecideAttemptEnd(run, unregistered, limits);
  }
  if (end.finished) {
    decision.transition = RunTransition::kComplete;
    decision.event = EventType::kCompleted;
    decision.message = CompletedMessage();
    return decision;
  }
  decision.attribution = AttributionOf(end);
  if (run.stop_requested == StopKind::kDeadline) {
    decision.attribution = Attribution::kUser;
    return Fail(std::move(decision),
                MakeFailure(end, "MAX_RUN_TIME", Attribution::kUser,
                            "The run reached its scheduling.max_run_time. Raise it, or continue "
                            "from the newest checkpoint with custom_weights_path."));
  }
  if (decision.attribution == Attribution::kOutOfMemory) {
    return Fail(std::move(decision),
                MakeFailure(end, "OUT_OF_MEMORY", Attribution::kOutOfMemory,
                            "The trainer ran out of memory. Lower recipe.micro_batch_size or "
                            "context_length, or ask for more "
                            "memory in compute.memory_bytes."));
  }
  // Only the worker's word, before it has started a trainer: a trainer may take what fails it, such
  // as memory that ran out, for damage. So nothing was saved in between, and it ends by itself:
  // each time there is one less.
  const bool never_started = !end.exit_code.has_value() && end.signal == 0 && run.acked_report == 0;
  if (end.failure.code == kCheckpointDamaged && run.has_checkpoint && never_started) {
    decision.drops_checkpoint = true;
    // Nothing was tried, so nothing counts.
    decision.attribution = Attribution::kUnknown;
    return Requeue(
        std::move(decision), run,
        MakeFailure(end, kCheckpointDamaged, Attribution::kInfrastructure, ""),
        absl::StrCat("Attempt ", run.epoch,
                     " could not go on from the newest checkpoint: ", end.failure.message));
  }
  if (decision.attribution == Attribution::kUser || decision.attribution == Attribution::kData) {
    const Attribution who = decision.attribution;
    return Fail(std::move(decision), MakeFailure(end, "INVALID_INPUT", who, Describe(end)));
  }
  const bool stopped_by_worker =
      run.stop_requested != StopKind::kNone || end.stop == StopKind::kPreempt;
  // A worker that stopped its trainer because it had lost the service is a loss like any other.
  if (stopped_by_worker && !end.lost && end.failure.attribution != Attribution::kInfrastructure &&
      end.failure.attribution != Attribution::kStalled) {
    decision.attribution = Attribution::kPreempted;
    return Requeue(std::move(decision), run,
                   MakeFailure(end, "PREEMPTED", Attribution::kPreempted, Describe(end)),
                   "The attempt was stopped in favour of another or because its worker drains.");
  }
  std::vector<PastAttempt> attempts = run.attempts;
  if (attempts.empty()) attempts.emplace_back();
  attempts.back().attribution = decision.attribution;
  attempts.back().worker_lost = end.lost;
  const Tally tally = Count(attempts);
  if (decision.attribution != Attribution::kInternal) {
    return RetryLoss(std::move(decision), run, end, tally, limits);
  }
  if (HasExit(end, 0)) {
    return Fail(std::move(decision),
                MakeFailure(end, "EXITED_EARLY", Attribution::kInternal,
                            "The trainer exited without saying that training is finished."));
  }
  Failure failure = MakeFailure(end, "TRAINER_FAILED", Attribution::kInternal, Describe(end));
  if (tally.trainer_failures > run.max_retries) {
    return Fail(std::move(decision), std::move(failure));
  }
  const std::string why =
      absl::StrCat("Attempt ", run.epoch, " failed (retry ", tally.trainer_failures, " of ",
                   run.max_retries, "): ", failure.message);
  decision.retry_delay = RetryDelay(tally.in_a_row, limits);
  return Requeue(std::move(decision), run, std::move(failure), why);
}

}  // namespace finetuned
