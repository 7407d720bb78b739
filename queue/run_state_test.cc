#include "queue/run_state.h"

#include <map>
#include <set>

#include <gtest/gtest.h>

#include "base/status.h"

namespace finetuned {
namespace {

using State = RunState;
using Transition = RunTransition;

TEST(RunState, TheWholeMatrixIsAsTheTableSays) {
  const std::map<std::pair<State, Transition>, State> allowed = {
      {{State::kPending, Transition::kLease}, State::kStarting},
      {{State::kPending, Transition::kEnqueueAtEngine}, State::kQueued},
      {{State::kPending, Transition::kStop}, State::kStopped},
      {{State::kPending, Transition::kFail}, State::kFailed},
      {{State::kPending, Transition::kPause}, State::kPaused},
      {{State::kQueued, Transition::kLaunch}, State::kStarting},
      {{State::kQueued, Transition::kTerminate}, State::kTerminating},
      {{State::kQueued, Transition::kRequeue}, State::kPending},
      {{State::kQueued, Transition::kFail}, State::kFailed},
      {{State::kStarting, Transition::kStart}, State::kRunning},
      {{State::kStarting, Transition::kTerminate}, State::kTerminating},
      {{State::kStarting, Transition::kRequeue}, State::kPending},
      {{State::kStarting, Transition::kFail}, State::kFailed},
      {{State::kRunning, Transition::kTerminate}, State::kTerminating},
      {{State::kRunning, Transition::kRequeue}, State::kPending},
      {{State::kRunning, Transition::kFail}, State::kFailed},
      {{State::kTerminating, Transition::kComplete}, State::kCompleted},
      {{State::kTerminating, Transition::kFail}, State::kFailed},
      {{State::kTerminating, Transition::kStop}, State::kStopped},
      {{State::kTerminating, Transition::kPause}, State::kPaused},
      {{State::kTerminating, Transition::kRequeue}, State::kPending},
      {{State::kPaused, Transition::kResume}, State::kPending},
      {{State::kPaused, Transition::kStop}, State::kStopped},
  };
  for (const State state : kAllRunStates) {
    for (const Transition transition : kAllRunTransitions) {
      const auto wanted = allowed.find({state, transition});
      const auto got = Apply(state, transition);
      if (wanted == allowed.end()) {
        EXPECT_EQ(ErrorReason(got.status()), "ILLEGAL_TRANSITION")
            << Name(state) << " / " << Name(transition);
      } else {
        ASSERT_TRUE(got.ok()) << Name(state) << " / " << Name(transition);
        EXPECT_EQ(*got, wanted->second);
      }
    }
  }
}

TEST(RunState, NothingLeavesATerminalState) {
  for (const State state : kAllRunStates) {
    if (!IsTerminal(state)) continue;
    for (const Transition transition : kAllRunTransitions) {
      EXPECT_FALSE(Apply(state, transition).ok());
    }
  }
}

TEST(RunState, EveryStateIsActiveOrPausedOrTerminal) {
  for (const State state : kAllRunStates) {
    EXPECT_EQ(IsActive(state) + IsTerminal(state) + (state == State::kPaused), 1) << Name(state);
  }
}

TEST(RunState, NamesComeBack) {
  std::set<std::string> names;
  for (const State state : kAllRunStates) {
    EXPECT_EQ(ParseRunState(Name(state)), state);
    names.insert(Name(state));
  }
  EXPECT_EQ(names.size(), kAllRunStates.size());
  EXPECT_FALSE(ParseRunState("pending").has_value());
}

}  // namespace
}  // namespace finetuned
