#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "queue/event.h"
#include "queue/run.h"

// What follows when an attempt has ended: a pure decision over how it ended and what happened to
// the run before. Who has to act is told apart first, because it decides everything: a mistake of
// the user is never retried, a loss of infrastructure is, and the two are counted apart.

namespace finetuned {

// The values are those of finetuned.v1.Failure.Attribution.
enum class Attribution {
  kUnknown = 0,
  kUser = 1,
  kInternal = 2,
  kNetwork = 3,
  kInfrastructure = 4,
  kOutOfMemory = 5,
  kStalled = 6,
};

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
  int trainer_failures = 0;
  int infra_losses = 0;
  // The newest checkpoint is damaged and is to be listed no more.
  bool drops_checkpoint = false;
};

// Code of the failure of an attempt that could not go on from the checkpoint that it was given.
inline constexpr char kCheckpointDamaged[] = "CHECKPOINT_DAMAGED";

// A run that was asked to pause is paused where it would have been queued again.
// `infra_retries`: losses of infrastructure that a run survives.
AttemptDecision DecideAttemptEnd(const RunSnapshot& run, const AttemptEnd& end, int infra_retries);

}  // namespace finetuned
