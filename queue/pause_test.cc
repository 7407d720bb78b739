#include "queue/pause.h"

#include <gtest/gtest.h>

#include "base/status.h"

namespace finetuned {
namespace {

RunSnapshot InState(RunState state, StopKind stop = StopKind::kNone) {
  RunSnapshot run;
  run.state = state;
  run.stop_requested = stop;
  return run;
}

TEST(Pause, AWaitingRunIsPausedAtOnceAndAHeldOneIsTold) {
  EXPECT_EQ(*DecidePause(InState(RunState::kPending), 0), PauseEffect::kPaused);
  for (const RunState state :
       {RunState::kQueued, RunState::kStarting, RunState::kRunning, RunState::kTerminating}) {
    EXPECT_EQ(*DecidePause(InState(state), 0), PauseEffect::kStopping) << Name(state);
  }
}

TEST(Pause, TwiceIsAsGoodAsOnceEvenAtTheLimit) {
  EXPECT_EQ(*DecidePause(InState(RunState::kPaused), kMaxPausedRuns), PauseEffect::kNone);
  EXPECT_EQ(*DecidePause(InState(RunState::kTerminating, StopKind::kPause), kMaxPausedRuns),
            PauseEffect::kNone);
}

TEST(Pause, WinsOverAPreemptionAndLosesToStopsForGood) {
  EXPECT_EQ(*DecidePause(InState(RunState::kTerminating, StopKind::kPreempt), 0),
            PauseEffect::kStopping);
  for (const StopKind stop : {StopKind::kCancel, StopKind::kDeadline}) {
    EXPECT_EQ(ErrorReason(DecidePause(InState(RunState::kTerminating, stop), 0).status()),
              "RUN_STOPPING");
  }
  for (const RunState state : {RunState::kCompleted, RunState::kFailed, RunState::kStopped}) {
    EXPECT_EQ(ErrorReason(DecidePause(InState(state), 0).status()), "RUN_TERMINAL");
    EXPECT_EQ(ErrorReason(CheckResume(InState(state))), "RUN_TERMINAL");
  }
}

TEST(Pause, HasALimitOfItsOwn) {
  EXPECT_TRUE(DecidePause(InState(RunState::kRunning), kMaxPausedRuns - 1).ok());
  const absl::Status status = DecidePause(InState(RunState::kRunning), kMaxPausedRuns).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ErrorReason(status), "PAUSED_RUNS_QUOTA");
}

TEST(Resume, OnlyWhatIsPausedGoesOn) {
  EXPECT_TRUE(CheckResume(InState(RunState::kPaused)).ok());
  for (const RunState state : {RunState::kPending, RunState::kRunning, RunState::kTerminating}) {
    EXPECT_EQ(ErrorReason(CheckResume(InState(state))), "RUN_NOT_PAUSED") << Name(state);
  }
  EXPECT_NE(CheckResume(InState(RunState::kTerminating, StopKind::kPause)).message().find("still"),
            std::string::npos);
}

}  // namespace
}  // namespace finetuned
