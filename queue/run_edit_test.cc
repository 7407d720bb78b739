#include "queue/run_edit.h"

#include <gtest/gtest.h>

#include "base/status.h"

namespace finetuned {
namespace {

const Schedule kCurrent = {Priority::kAuto, 1, 3600, 1800};

TEST(RunEdit, WhatIsAbsentStaysAndWhatChangesIsSaid) {
  RunEdit edit;
  edit.priority = Priority::kLow;
  auto decision = DecideEdit(RunState::kPending, kCurrent, edit);
  ASSERT_TRUE(decision.ok()) << decision.status();
  EXPECT_EQ(decision->schedule, (Schedule{Priority::kLow, 1, 3600, 1800}));
  EXPECT_EQ(decision->message, "Run updated: priority LOW.");
  edit.max_retries = 3;
  edit.max_run_seconds = 7200;
  decision = DecideEdit(RunState::kRunning, kCurrent, edit);
  EXPECT_EQ(decision->message, "Run updated: priority LOW, max_retries 3, max_run_time 2h.");
  edit.max_run_seconds = 0;
  decision = DecideEdit(RunState::kRunning, kCurrent, edit);
  EXPECT_EQ(decision->schedule.max_run_seconds, 0);
  EXPECT_EQ(decision->message, "Run updated: priority LOW, max_retries 3, no max_run_time.");
}

TEST(RunEdit, TheLimitOfTheTimeInTheQueueIsSetAndTakenAway) {
  RunEdit edit;
  edit.max_queue_seconds = 7200;
  auto decision = DecideEdit(RunState::kPending, kCurrent, edit);
  EXPECT_EQ(decision->schedule.max_queue_seconds, 7200);
  EXPECT_EQ(decision->message, "Run updated: max_queue_time 2h.");
  edit.max_queue_seconds = 0;
  decision = DecideEdit(RunState::kPending, kCurrent, edit);
  EXPECT_EQ(decision->schedule.max_queue_seconds, 0);
  EXPECT_EQ(decision->message, "Run updated: no max_queue_time.");
}

TEST(RunEdit, LabelsAndWhatIsAsItWasAreNoEvent) {
  RunEdit edit;
  edit.labels = std::map<std::string, std::string>{{"a", "b"}};
  edit.priority = Priority::kAuto;
  for (const RunState state : kAllRunStates) {
    const auto decision = DecideEdit(state, kCurrent, edit);
    ASSERT_TRUE(decision.ok()) << Name(state);
    EXPECT_EQ(decision->schedule, kCurrent);
    EXPECT_EQ(decision->message, "");
  }
}

TEST(RunEdit, TheScheduleOfATerminalRunIsSettled) {
  RunEdit edit;
  edit.max_retries = 2;
  for (const RunState state : kAllRunStates) {
    const auto decision = DecideEdit(state, kCurrent, edit);
    EXPECT_EQ(decision.ok(), !IsTerminal(state)) << Name(state);
    EXPECT_EQ(ErrorReason(decision.status()), decision.ok() ? "" : "RUN_TERMINAL");
  }
}

TEST(RunEdit, OnlyATerminalRunIsDeleted) {
  for (const RunState state : kAllRunStates) {
    const absl::Status status = CheckDelete(state);
    EXPECT_EQ(status.ok(), IsTerminal(state)) << Name(state);
    EXPECT_EQ(ErrorReason(status), status.ok() ? "" : "RUN_NOT_TERMINAL");
  }
}

}  // namespace
}  // namespace finetuned
