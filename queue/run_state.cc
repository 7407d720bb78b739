#include "queue/run_state.h"

#include "base/status.h"

namespace finetuned {
namespace {

// From PENDING to TERMINATING nothing but kRequeue goes back, and nothing leaves a terminal state.
std::optional<RunState> Next(RunState state, RunTransition transition) {
  switch (transition) {
    case RunTransition::kLease:
      if (state == RunState::kPending) return RunState::kStarting;
      break;
    case RunTransition::kEnqueueAtEngine:
      if (state == RunState::kPending) return RunState::kQueued;
      break;
    case RunTransition::kLaunch:
      if (state == RunState::kQueued) return RunState::kStarting;
      break;
    case RunTransition::kStart:
      if (state == RunState::kStarting) return RunState::kRunning;
      break;
    case RunTransition::kTerminate:
      if (state == RunState::kQueued || state == RunState::kStarting ||
          state == RunState::kRunning) {
        return RunState::kTerminating;
      }
      break;
    case RunTransition::kComplete:
      if (state == RunState::kTerminating) return RunState::kCompleted;
      break;
    case RunTransition::kFail:
      if (IsActive(state)) return RunState::kFailed;
      break;
    case RunTransition::kStop:
      if (state == RunState::kPending || state == RunState::kTerminating ||
          state == RunState::kPaused) {
        return RunState::kStopped;
      }
      break;
    case RunTransition::kPause:
      if (state == RunState::kPending || state == RunState::kTerminating) return RunState::kPaused;
      break;
    case RunTransition::kRequeue:
      if (IsHeld(state)) return RunState::kPending;
      break;
    case RunTransition::kResume:
      if (state == RunState::kPaused) return RunState::kPending;
      break;
  }
  return std::nullopt;
}

}  // namespace

absl::StatusOr<RunState> Apply(RunState state, RunTransition transition) {
  const std::optional<RunState> next = Next(state, transition);
  if (next.has_value()) return *next;
  return MakeError(absl::StatusCode::kFailedPrecondition, "ILLEGAL_TRANSITION",
                   std::string("a run in state ") + Name(state) + " cannot " + Name(transition),
                   {{"state", Name(state)}, {"transition", Name(transition)}});
}

bool IsTerminal(RunState state) {
  return state == RunState::kCompleted || state == RunState::kFailed || state == RunState::kStopped;
}

bool IsActive(RunState state) { return state == RunState::kPending || IsHeld(state); }

bool IsHeld(RunState state) {
  return state == RunState::kQueued || state == RunState::kStarting ||
         state == RunState::kRunning || state == RunState::kTerminating;
}

const char* Name(RunState state) {
  switch (state) {
    case RunState::kPending: return "PENDING";
    case RunState::kQueued: return "QUEUED";
    case RunState::kStarting: return "STARTING";
    case RunState::kRunning: return "RUNNING";
    case RunState::kTerminating: return "TERMINATING";
    case RunState::kPaused: return "PAUSED";
    case RunState::kCompleted: return "COMPLETED";
    case RunState::kFailed: return "FAILED";
    case RunState::kStopped: return "STOPPED";
  }
  return "?";
}

const char* Name(RunTransition transition) {
  switch (transition) {
    case RunTransition::kLease: return "lease";
    case RunTransition::kEnqueueAtEngine: return "enqueue at an engine";
    case RunTransition::kLaunch: return "launch";
    case RunTransition::kStart: return "start";
    case RunTransition::kTerminate: return "terminate";
    case RunTransition::kComplete: return "complete";
    case RunTransition::kFail: return "fail";
    case RunTransition::kStop: return "stop";
    case RunTransition::kPause: return "pause";
    case RunTransition::kRequeue: return "requeue";
    case RunTransition::kResume: return "resume";
  }
  return "?";
}

std::optional<RunState> ParseRunState(std::string_view name) {
  for (const RunState state : kAllRunStates) {
    if (name == Name(state)) return state;
  }
  return std::nullopt;
}

}  // namespace finetuned
