#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/time/time.h"
#include "queue/event.h"
#include "queue/run.h"

// What follows when an attempt has ended: a pure decision over how it ended and how the attempts
// before it did. Who has to act is told apart first, because it decides everything: a mistake of
// the user is never retried, a loss of infrastructure is, and each class has its own bound.
//
// Losses are counted since the run last saved a checkpoint: a run that gets on is retried as long
// as it does, one that does not comes to an end. Between tries that get nowhere there is time, more
// with each, so that an outage of something all attempts need does not use all of them up.

namespace finetuned {

// Why something failed; as finetuned.v1.Failure.
struct Failure {
  std::string code;
  std::string message;
  Attribution attribution = Attribution::kUnknown;
  std::optional<int> exit_code;
  int signal = 0;
  std::string stderr_tail;
};

// The final weights that a worker has put beside the registered models; as
// finetuned.v1.ModelFiles.
struct ModelFiles {
  std::string checkpoint;
  int64_t size_bytes = 0;
  std::string manifest_sha256;
};

// How an attempt ended; as finetuned.v1.AttemptEnd.
struct AttemptEnd {
  bool finished = false;
  std::optional<int> exit_code;
  int signal = 0;
  bool signaled_by_worker = false;
  bool out_of_memory = false;
  StopKind stop = StopKind::kNone;
  // The trainer's or the worker's own word; code and message empty without one.
  Failure failure;
  // Nobody knows the exit status: the lease expired, or the worker's host restarted.
  bool lost = false;
  // With `finished`, where the run registers a model.
  std::optional<ModelFiles> model;
};

// What follows.
struct AttemptDecision {
  RunTransition transition = RunTransition::kFail;
  EventType event = EventType::kFailed;
  // Of the event, and with a requeue also the run's state_reason.
  std::string message;
  // With FAILED and REQUEUED.
  Failure failure;
  // Of the attempt, for the history: who had to act, kUnknown where it did not fail.
  Attribution attribution = Attribution::kUnknown;
  // With a requeue: how long the next attempt is to wait before it may be queued.
  absl::Duration retry_delay;
  // The newest checkpoint is damaged and is to be listed no more.
  bool drops_checkpoint = false;
};

// Code of the failure of an attempt that could not go on from the checkpoint that it was given.
inline constexpr char kCheckpointDamaged[] = "CHECKPOINT_DAMAGED";

// How many attempts of each class a run survives without saving a checkpoint in between.
struct RetryLimits {
  // Of infrastructure, and as many of the network.
  int infrastructure = 10;
  // Of trainers that hung: each has cost the watchdog's time.
  int stalls = 3;
  // Attempts that took their workers down soon after they began, on more than one worker, before
  // the run itself is taken for the cause. 0: never.
  int worker_losses = 3;
  // Between two losses in a row and the next attempt, doubling with each further one up to the
  // longest.
  absl::Duration first_delay = absl::Seconds(10);
  absl::Duration longest_delay = absl::Minutes(10);
};

// Attempts that a run has at most, whatever ends them.
inline constexpr int64_t kMaxRunAttempts = 1000;

// A worker lost later than this after it got an attempt is no evidence against the run.
inline constexpr absl::Duration kBriefLife = absl::Minutes(10);

// The time before the next attempt after so many losses in a row: none after the first.
absl::Duration RetryDelay(int losses_in_a_row, const RetryLimits& limits);

// Of a run that has waited to start for the first time longer than it may.
Failure QueueTimeout();

// A run that was asked to pause is paused where it would have been queued again. `run.attempts` has
// the whole history, the attempt that has ended last.
AttemptDecision DecideAttemptEnd(const RunSnapshot& run, const AttemptEnd& end,
                                 const RetryLimits& limits);

}  // namespace finetuned
