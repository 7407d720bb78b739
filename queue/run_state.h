#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

// The states of a run, the named transitions between them, and the one function that applies one.
// Nobody else writes a state. Postgres enforces the same edges (run_state_edges), and a test holds
// the two and the proto enum against each other. docs/run-lifecycle.md draws it.

namespace finetuned {

// The values are those of finetuned.v1.Run.State.
enum class RunState {
  kPending = 1,
  kQueued = 2,
  kStarting = 3,
  kRunning = 4,
  kTerminating = 5,
  kPaused = 6,
  kCompleted = 7,
  kFailed = 8,
  kStopped = 9,
};

inline constexpr std::array<RunState, 9> kAllRunStates = {
    RunState::kPending,   RunState::kQueued,      RunState::kStarting,
    RunState::kRunning,   RunState::kTerminating, RunState::kPaused,
    RunState::kCompleted, RunState::kFailed,      RunState::kStopped,
};

// What may happen to a run. Each is named by what happened, not by the state it leads to.
enum class RunTransition {
  // A worker got the lease and launches the trainer itself.
  kLease,
  // A worker got the lease and an outer engine has queued the attempt.
  kEnqueueAtEngine,
  // The outer engine has found the resources.
  kLaunch,
  // The trainer has started.
  kStart,
  // A stop was asked for, or training is finished and uploads go on.
  kTerminate,
  // The final weights are published.
  kComplete,
  // The run cannot be finished.
  kFail,
  // A user canceled it and nothing runs any more.
  kStop,
  // It was asked to pause and nothing of it runs.
  kPause,
  // The attempt ended without ending the run.
  kRequeue,
  // A paused run is admitted again.
  kResume,
};

inline constexpr std::array<RunTransition, 11> kAllRunTransitions = {
    RunTransition::kLease,     RunTransition::kEnqueueAtEngine,
    RunTransition::kLaunch,    RunTransition::kStart,
    RunTransition::kTerminate, RunTransition::kComplete,
    RunTransition::kFail,      RunTransition::kStop,
    RunTransition::kPause,     RunTransition::kRequeue,
    RunTransition::kResume,
};

// The state after the transition; FAILED_PRECONDITION `ILLEGAL_TRANSITION`, naming both, where it
// is not allowed.
absl::StatusOr<RunState> Apply(RunState state, RunTransition transition);

// COMPLETED, FAILED and STOPPED: nothing happens to the run any more.
bool IsTerminal(RunState state);

// PENDING to TERMINATING: counts against the owner's quota.
bool IsActive(RunState state);

// QUEUED to TERMINATING: has an attempt, which has or may have resources.
bool IsHeld(RunState state);

// The name, as in the proto and in SQL: `PENDING`.
const char* Name(RunState state);
const char* Name(RunTransition transition);

// The state of a name; nothing for another text.
std::optional<RunState> ParseRunState(std::string_view name);

}  // namespace finetuned
