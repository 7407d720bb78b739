#include "worker/attempt_rules.h"

#include <gtest/gtest.h>

#include "worker/capacity.h"

namespace finetuned {
namespace {

using Phase = AttemptPhase;
using Input = AttemptInput;

TEST(StepAttempt, TheWholeTable) {
  struct Row {
    Phase phase;
    Input input;
    AttemptStep expected;
  };
  // {phase, stop, kill, record_end, forget}
  const Row rows[] = {
      {Phase::kStarting, Input::kStarted, {Phase::kRunning}},
      {Phase::kStarting, Input::kStopWanted, {Phase::kStarting}},
      {Phase::kStarting, Input::kLeaseLost, {Phase::kAbandoned, false, true}},
      {Phase::kStarting, Input::kTrainerGone, {Phase::kEnded, false, false, true}},
      {Phase::kRunning, Input::kStarted, {Phase::kRunning}},
      {Phase::kRunning, Input::kStopWanted, {Phase::kStopping, true}},
      {Phase::kRunning, Input::kLeaseLost, {Phase::kAbandoned, false, true}},
      {Phase::kRunning, Input::kTrainerGone, {Phase::kEnded, false, false, true}},
      {Phase::kStopping, Input::kStarted, {Phase::kStopping}},
      {Phase::kStopping, Input::kStopWanted, {Phase::kStopping}},
      {Phase::kStopping, Input::kLeaseLost, {Phase::kAbandoned, false, true}},
      {Phase::kStopping, Input::kTrainerGone, {Phase::kEnded, false, false, true}},
      {Phase::kEnded, Input::kStarted, {Phase::kEnded}},
      {Phase::kEnded, Input::kStopWanted, {Phase::kEnded}},
      {Phase::kEnded, Input::kLeaseLost, {Phase::kAbandoned}},
      {Phase::kEnded, Input::kTrainerGone, {Phase::kEnded}},
      {Phase::kAbandoned, Input::kStarted, {Phase::kAbandoned}},
      {Phase::kAbandoned, Input::kStopWanted, {Phase::kAbandoned}},
      {Phase::kAbandoned, Input::kLeaseLost, {Phase::kAbandoned, false, true}},
      {Phase::kAbandoned, Input::kTrainerGone, {Phase::kAbandoned, false, false, false, true}},
  };
  for (const Row& row : rows) {
    const AttemptStep step = StepAttempt(row.phase, row.input);
    const std::string where = std::to_string(static_cast<int>(row.phase)) + " " +
                              std::to_string(static_cast<int>(row.input));
    EXPECT_EQ(step.phase, row.expected.phase) << where;
    EXPECT_EQ(step.stop, row.expected.stop) << where;
    EXPECT_EQ(step.kill, row.expected.kill) << where;
    EXPECT_EQ(step.record_end, row.expected.record_end) << where;
    EXPECT_EQ(step.forget, row.expected.forget) << where;
  }
}

TEST(CombineStops, AStopIsNeverTakenBackAndTheStrongerWins) {
  EXPECT_EQ(CombineStops(v1::PAUSE, v1::STOP_KIND_UNSPECIFIED), v1::PAUSE);
  EXPECT_EQ(CombineStops(v1::PREEMPT, v1::PAUSE), v1::PAUSE);
  EXPECT_EQ(CombineStops(v1::CANCEL, v1::PAUSE), v1::CANCEL);
  EXPECT_EQ(CombineStops(v1::PAUSE, v1::CANCEL), v1::CANCEL);
}

TEST(MustSelfStop, CountsFromWhenTheAnsweredCallWasSent) {
  EXPECT_FALSE(MustSelfStop(absl::Seconds(700), absl::Seconds(100), absl::Minutes(10)));
  EXPECT_TRUE(MustSelfStop(absl::Seconds(701), absl::Seconds(100), absl::Minutes(10)));
}

class MakeEndTest : public ::testing::Test {
 protected:
  MakeEndTest() {
    facts_.train_finished = true;
    facts_.last_step = 50;
    facts_.checkpoint_step = 50;
    facts_.checkpoint_name = "ep1-ba50";
    seen_.state = Observation::State::kExited;
    seen_.exit.exit_code = 0;
    seen_.exit.end_time = absl::FromUnixSeconds(1000);
  }
  void Exit(int code) { seen_.exit.exit_code = code; }
  void Signal(int number, bool by_engine) {
    seen_.exit.exit_code.reset();
    seen_.exit.signal = number;
    seen_.exit.signaled = by_engine;
  }
  v1::AttemptEnd End() {
    return MakeEnd(facts_, notes_, seen_, words_, absl::FromUnixSeconds(2000));
  }
  AttemptFacts facts_;
  AttemptNotes notes_;
  Observation seen_;
  LastWords words_;
};

TEST_F(MakeEndTest, FinishedNeedsTheWordTheFinalCheckpointAndExitZero) {
  EXPECT_TRUE(End().finished());
  EXPECT_FALSE(End().has_failure());
  EXPECT_EQ(End().end_time().seconds(), 1000);
  facts_.checkpoint_step = 49;
  EXPECT_FALSE(End().finished());
  EXPECT_EQ(End().failure().code(), "NO_FINAL_CHECKPOINT");
  facts_.checkpoint_step = 50;
  facts_.publish_error = "disk full";
  EXPECT_FALSE(End().finished());
  EXPECT_EQ(End().failure().code(), "CHECKPOINT_NOT_PUBLISHED");
  EXPECT_EQ(End().failure().attribution(), v1::Failure::INFRASTRUCTURE);
  facts_.publish_error.clear();
  facts_.train_finished = false;
  EXPECT_EQ(End().failure().code(), "EXITED_EARLY");
  facts_.train_finished = true;
  Exit(1);
  EXPECT_FALSE(End().finished());
  EXPECT_EQ(End().failure().code(), "TRAINER_FAILED");
  EXPECT_EQ(End().failure().attribution(), v1::Failure::INTERNAL);
}

TEST_F(MakeEndTest, TheExitStatusSaysWhoHasToAct) {
  for (const int code : {64, 65, 78}) {
    Exit(code);
    EXPECT_EQ(End().failure().attribution(), v1::Failure::USER) << code;
    EXPECT_EQ(End().failure().exit_code(), code);
  }
  Exit(75);
  EXPECT_EQ(End().failure().attribution(), v1::Failure::NETWORK);
  Signal(9, false);
  EXPECT_EQ(End().failure().attribution(), v1::Failure::INFRASTRUCTURE);
  EXPECT_EQ(End().signal(), 9);
  EXPECT_FALSE(End().signaled_by_worker());
  EXPECT_FALSE(End().has_exit_code());
}

TEST_F(MakeEndTest, AKillWithEvidenceIsOutOfMemoryAndOneByTheWorkerIsNot) {
  Signal(9, false);
  seen_.exit.oom_kill = true;
  EXPECT_TRUE(End().out_of_memory());
  EXPECT_EQ(End().failure().attribution(), v1::Failure::OUT_OF_MEMORY);
  notes_.stop = v1::CANCEL;
  seen_.exit.signaled = true;
  EXPECT_FALSE(End().out_of_memory());
}

TEST_F(MakeEndTest, AStopThatWasCarriedOutIsNoFailure) {
  notes_.stop = v1::PAUSE;
  facts_.train_finished = false;
  Exit(75);
  EXPECT_FALSE(End().has_failure());
  EXPECT_EQ(End().stop(), v1::PAUSE);
  Signal(15, true);
  EXPECT_TRUE(End().signaled_by_worker());
  EXPECT_FALSE(End().has_failure());
  // The trainer crashed by itself before the signal came.
  Signal(11, false);
  EXPECT_TRUE(End().has_failure());
}

TEST_F(MakeEndTest, ASignalFromElsewhereIsNotTheWorkers) {
  Signal(15, true);
  EXPECT_FALSE(End().signaled_by_worker());
  EXPECT_EQ(End().failure().attribution(), v1::Failure::INFRASTRUCTURE);
}

TEST_F(MakeEndTest, ASelfStopIsInfrastructure) {
  facts_.train_finished = false;
  Signal(15, true);
  notes_.self_stopped = true;
  notes_.stop = v1::PREEMPT;
  EXPECT_EQ(End().failure().code(), "WORKER_DISCONNECTED");
  EXPECT_TRUE(End().signaled_by_worker());
  notes_ = AttemptNotes();
  seen_.exit.deadline_passed = true;
  EXPECT_EQ(End().failure().code(), "WORKER_DISCONNECTED");
  EXPECT_EQ(End().stop(), v1::PREEMPT);
}

TEST_F(MakeEndTest, TheTrainersOwnWordsWin) {
  Exit(1);
  words_.error_file = R"({"code":"LOSS_SPIKE","message":"spike","attribution":"user"})";
  words_.stderr_tail = "tail";
  EXPECT_EQ(End().failure().code(), "LOSS_SPIKE");
  EXPECT_EQ(End().failure().stderr_tail(), "tail");
  words_.error_file = R"({"message":{"message":"RuntimeError: x","extraInfo":{}}})";
  EXPECT_EQ(End().failure().message(), "RuntimeError: x");
  EXPECT_EQ(End().failure().code(), "TRAINER_FAILED");
  facts_.failure_code = "UNKNOWN_EXAMPLE_TYPE";
  facts_.failure_attribution = "user";
  EXPECT_EQ(End().failure().code(), "UNKNOWN_EXAMPLE_TYPE");
  EXPECT_EQ(End().failure().attribution(), v1::Failure::USER);
  facts_.failure_code = "not a code";
  EXPECT_EQ(End().failure().code(), "TRAINER_FAILED");
}

// A message that the daemon cannot read would keep every end of this worker from it.
TEST_F(MakeEndTest, AnyWordsOfATrainerMakeAnEndThatCanBeRead) {
  Exit(1);
  std::string message = "x";
  for (int i = 0; i < 5000; ++i) message += "\u00e9";
  words_.error_file = "{\"message\": \"" + message + "\"}";
  words_.stderr_tail = "\xff broken";
  v1::AttemptEnd read;
  ASSERT_TRUE(read.ParseFromString(End().SerializeAsString()));
  EXPECT_EQ(read.failure().message().substr(0, 3), "x\u00e9");
  EXPECT_GT(read.failure().message().size(), 8000u);
  facts_.failure_message = "\xc3";
  facts_.failure_code = "X";
  EXPECT_TRUE(read.ParseFromString(End().SerializeAsString()));
}

TEST(MakeNotStartedEnd, AStopThatCameFirstIsNoFailureAndAWorkerThatCannotStartIsOne) {
  AttemptNotes notes;
  v1::AttemptEnd end = MakeNotStartedEnd(notes, "no space left", absl::FromUnixSeconds(5));
  EXPECT_EQ(end.failure().code(), "TRAINER_NOT_STARTED");
  EXPECT_EQ(end.failure().attribution(), v1::Failure::INFRASTRUCTURE);
  EXPECT_NE(end.failure().message().find("no space left"), std::string::npos);
  EXPECT_FALSE(end.finished());
  notes.stop = v1::CANCEL;
  end = MakeNotStartedEnd(notes, "", absl::FromUnixSeconds(5));
  EXPECT_FALSE(end.has_failure());
  EXPECT_TRUE(end.signaled_by_worker());
  EXPECT_EQ(end.stop(), v1::CANCEL);
  EXPECT_EQ(end.end_time().seconds(), 5);
  notes.stop = v1::PREEMPT;
  notes.self_stopped = true;
  end = MakeNotStartedEnd(notes, "", absl::FromUnixSeconds(5));
  EXPECT_EQ(end.failure().code(), "WORKER_DISCONNECTED");
}

TEST_F(MakeEndTest, ALostTrainerIsLostWhateverElseIsKnown) {
  seen_ = Observation();
  seen_.state = Observation::State::kLost;
  seen_.host_restarted = true;
  EXPECT_TRUE(End().lost());
  EXPECT_FALSE(End().finished());
  EXPECT_EQ(End().failure().code(), "HOST_RESTARTED");
  EXPECT_EQ(End().end_time().seconds(), 2000);
}

TEST(Capacity, FreeIsWhatIsLeftAndNeverNegative) {
  v1::Compute total;
  total.set_cpus(8);
  total.set_gpus(2);
  total.set_memory_bytes(100);
  v1::Compute one;
  one.set_cpus(3);
  one.set_gpus(1);
  one.set_memory_bytes(60);
  EXPECT_EQ(FreeCapacity(total, {one}).cpus(), 5);
  EXPECT_EQ(FreeCapacity(total, {one}).gpus(), 1);
  EXPECT_EQ(FreeCapacity(total, {one, one, one}).cpus(), 0);
  EXPECT_EQ(FreeCapacity(total, {one, one}).memory_bytes(), 0);
  EXPECT_EQ(AssignGpus(4, {0, 2}, 2), (std::vector<int>{1, 3}));
  EXPECT_EQ(AssignGpus(2, {0}, 2), (std::vector<int>{1}));
}

TEST(Capacity, ADefaultIsTheWholeHostWithoutGpus) {
  const auto capacity = ResolveCapacity(v1::Compute(), {});
  ASSERT_TRUE(capacity.ok());
  EXPECT_GE(capacity->cpus(), 1);
  EXPECT_GT(capacity->memory_bytes(), 1 << 20);
  EXPECT_EQ(capacity->gpus(), 0);
  v1::Compute negative;
  negative.set_cpus(-1);
  EXPECT_FALSE(ResolveCapacity(negative, {}).ok());
}

}  // namespace
}  // namespace finetuned
