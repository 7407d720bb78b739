#include "queue/retry_policy.h"

#include <gtest/gtest.h>

namespace finetuned {
namespace {

constexpr int kInfraRetries = 2;

RunSnapshot Running() {
  RunSnapshot run;
  run.run_id = 1;
  run.state = RunState::kRunning;
  run.epoch = 1;
  return run;
}

AttemptEnd Exit(int code) {
  AttemptEnd end;
  end.exit_code = code;
  return end;
}

AttemptEnd Signal(int signal, bool by_worker = false) {
  AttemptEnd end;
  end.signal = signal;
  end.signaled_by_worker = by_worker;
  return end;
}

AttemptEnd Lost() {
  AttemptEnd end;
  end.lost = true;
  return end;
}

TEST(RetryPolicy, FinishedTrainingCompletesTheRun) {
  AttemptEnd end = Exit(0);
  end.finished = true;
  const AttemptDecision decision = DecideAttemptEnd(Running(), end, kInfraRetries);
  EXPECT_EQ(decision.transition, RunTransition::kComplete);
  EXPECT_EQ(decision.event, EventType::kCompleted);
  EXPECT_EQ(decision.message, "Run completed. Final weights uploaded.");
}

TEST(RetryPolicy, AnAcknowledgedCancelWinsOverEveryWayOfEnding) {
  RunSnapshot run = Running();
  run.state = RunState::kTerminating;
  run.stop_requested = StopKind::kCancel;
  AttemptEnd finished = Exit(0);
  finished.finished = true;
  for (const AttemptEnd& end : {finished, Exit(1), Exit(65), Signal(9), Lost()}) {
    const AttemptDecision decision = DecideAttemptEnd(run, end, kInfraRetries);
    EXPECT_EQ(decision.transition, RunTransition::kStop);
    EXPECT_EQ(decision.event, EventType::kCanceled);
  }
}

TEST(RetryPolicy, UserErrorsAreNeverRetried) {
  RunSnapshot run = Running();
  run.max_retries = 100;
  AttemptEnd said = Exit(1);
  said.failure.attribution = Attribution::kUser;
  said.failure.code = "UNKNOWN_EXAMPLE_TYPE";
  said.failure.message = "Found keys";
  for (const AttemptEnd& end : {Exit(64), Exit(65), Exit(78), said}) {
    const AttemptDecision decision = DecideAttemptEnd(run, end, kInfraRetries);
    EXPECT_EQ(decision.transition, RunTransition::kFail);
    EXPECT_EQ(decision.failure.attribution, Attribution::kUser);
  }
  EXPECT_EQ(DecideAttemptEnd(run, said, kInfraRetries).message, "Found keys");
  EXPECT_EQ(DecideAttemptEnd(run, said, kInfraRetries).failure.code, "UNKNOWN_EXAMPLE_TYPE");
}

TEST(RetryPolicy, InfrastructureIsRetriedUpToItsOwnLimitAndNotTheUsers) {
  for (const AttemptEnd& end : {Lost(), Signal(9), Exit(75)}) {
    RunSnapshot run = Running();
    AttemptDecision decision = DecideAttemptEnd(run, end, kInfraRetries);
    EXPECT_EQ(decision.transition, RunTransition::kRequeue);
    EXPECT_EQ(decision.infra_losses, 1);
    EXPECT_EQ(decision.trainer_failures, 0);
    run.infra_losses = kInfraRetries - 1;
    EXPECT_EQ(DecideAttemptEnd(run, end, kInfraRetries).transition, RunTransition::kRequeue);
    run.infra_losses = kInfraRetries;
    decision = DecideAttemptEnd(run, end, kInfraRetries);
    EXPECT_EQ(decision.transition, RunTransition::kFail);
    EXPECT_EQ(decision.failure.code, "INFRASTRUCTURE_RETRIES_EXHAUSTED");
  }
}

TEST(RetryPolicy, ATrainersFailureIsRetriedAsOftenAsTheUserSaid) {
  RunSnapshot run = Running();
  AttemptDecision decision = DecideAttemptEnd(run, Exit(1), kInfraRetries);
  EXPECT_EQ(decision.transition, RunTransition::kFail);
  EXPECT_EQ(decision.failure.code, "TRAINER_FAILED");
  run.max_retries = 2;
  run.trainer_failures = 1;
  decision = DecideAttemptEnd(run, Exit(1), kInfraRetries);
  EXPECT_EQ(decision.transition, RunTransition::kRequeue);
  EXPECT_EQ(decision.trainer_failures, 2);
  EXPECT_EQ(decision.infra_losses, 0);
  run.trainer_failures = 2;
  EXPECT_EQ(DecideAttemptEnd(run, Exit(1), kInfraRetries).transition, RunTransition::kFail);
}

TEST(RetryPolicy, MemoryThatRanOutWouldRunOutAgain) {
  AttemptEnd end = Signal(9);
  end.out_of_memory = true;
  const AttemptDecision decision = DecideAttemptEnd(Running(), end, kInfraRetries);
  EXPECT_EQ(decision.transition, RunTransition::kFail);
  EXPECT_EQ(decision.failure.code, "OUT_OF_MEMORY");
}

TEST(RetryPolicy, APreemptedAttemptIsQueuedAgainAtNoCost) {
  AttemptEnd end = Exit(75);
  end.stop = StopKind::kPreempt;
  const AttemptDecision decision = DecideAttemptEnd(Running(), end, kInfraRetries);
  EXPECT_EQ(decision.transition, RunTransition::kRequeue);
  EXPECT_EQ(decision.infra_losses, 0);
  EXPECT_EQ(decision.trainer_failures, 0);
}

TEST(RetryPolicy, ARunThatWasAskedToPauseIsPausedInsteadOfQueuedAgain) {
  RunSnapshot run = Running();
  run.state = RunState::kTerminating;
  run.stop_requested = StopKind::kPause;
  run.max_retries = 1;
  run.has_checkpoint = true;
  AttemptEnd stopped = Exit(75);
  stopped.stop = StopKind::kPause;
  for (const AttemptEnd& end : {stopped, Exit(0), Exit(1), Signal(9), Signal(9, true), Lost()}) {
    const AttemptDecision decision = DecideAttemptEnd(run, end, kInfraRetries);
    EXPECT_EQ(decision.transition, RunTransition::kPause);
    EXPECT_EQ(decision.event, EventType::kPaused);
    EXPECT_NE(decision.message.find("newest checkpoint"), std::string::npos);
  }
  run.has_checkpoint = false;
  EXPECT_NE(DecideAttemptEnd(run, Lost(), kInfraRetries).message.find("from the beginning"),
            std::string::npos);
  EXPECT_EQ(DecideAttemptEnd(run, Exit(65), kInfraRetries).transition, RunTransition::kFail);
  AttemptEnd finished = Exit(0);
  finished.finished = true;
  EXPECT_EQ(DecideAttemptEnd(run, finished, kInfraRetries).transition, RunTransition::kComplete);
}

TEST(RetryPolicy, ADamagedCheckpointIsPassedOverForTheOneBefore) {
  AttemptEnd end;
  end.failure.code = "CHECKPOINT_DAMAGED";
  end.failure.message = "Not what was published: ep1-ba2.";
  end.failure.attribution = Attribution::kInfrastructure;
  RunSnapshot run = Running();
  run.has_checkpoint = run.has_older_checkpoint = true;
  AttemptDecision decision = DecideAttemptEnd(run, end, kInfraRetries);
  EXPECT_EQ(decision.transition, RunTransition::kRequeue);
  EXPECT_TRUE(decision.drops_checkpoint);
  EXPECT_EQ(decision.infra_losses + decision.trainer_failures, 0);
  EXPECT_EQ(decision.failure.attribution, Attribution::kInfrastructure);
  EXPECT_NE(decision.message.find("from the checkpoint before it"), std::string::npos);
  run.has_older_checkpoint = false;
  EXPECT_NE(DecideAttemptEnd(run, end, kInfraRetries).message.find("from the beginning"),
            std::string::npos);
  // A trainer's word takes no checkpoint away, nor does one that has begun.
  AttemptEnd said = end;
  said.exit_code = 1;
  said.failure.attribution = Attribution::kInternal;
  decision = DecideAttemptEnd(run, said, kInfraRetries);
  EXPECT_EQ(decision.transition, RunTransition::kFail);
  EXPECT_FALSE(decision.drops_checkpoint);
  run.acked_report = 1;
  EXPECT_FALSE(DecideAttemptEnd(run, end, kInfraRetries).drops_checkpoint);
  run.acked_report = 0;
  run.has_checkpoint = false;
  EXPECT_FALSE(DecideAttemptEnd(run, end, kInfraRetries).drops_checkpoint);
}

TEST(RetryPolicy, ATrainerThatHangsIsRetriedAsALossAndSaysSo) {
  AttemptEnd end = Signal(9, true);
  end.stop = StopKind::kPreempt;
  end.failure.code = "TRAINER_STALLED";
  end.failure.message = "The trainer said nothing for 30m.";
  end.failure.attribution = Attribution::kStalled;
  AttemptDecision decision = DecideAttemptEnd(Running(), end, kInfraRetries);
  EXPECT_EQ(decision.transition, RunTransition::kRequeue);
  EXPECT_EQ(decision.infra_losses, 1);
  EXPECT_EQ(decision.failure.attribution, Attribution::kStalled);
  EXPECT_EQ(decision.failure.code, "TRAINER_STALLED");
  RunSnapshot run = Running();
  run.infra_losses = kInfraRetries;
  EXPECT_EQ(DecideAttemptEnd(run, end, kInfraRetries).transition, RunTransition::kFail);
}

TEST(RetryPolicy, AWorkerThatStoppedBecauseItWasCutOffCostsALoss) {
  AttemptEnd end = Exit(75);
  end.stop = StopKind::kPreempt;
  end.failure.code = "WORKER_DISCONNECTED";
  end.failure.attribution = Attribution::kInfrastructure;
  const AttemptDecision decision = DecideAttemptEnd(Running(), end, kInfraRetries);
  EXPECT_EQ(decision.transition, RunTransition::kRequeue);
  EXPECT_EQ(decision.infra_losses, 1);
}

TEST(RetryPolicy, ATrainerThatExitsWithoutFinishingHasFailed) {
  EXPECT_EQ(DecideAttemptEnd(Running(), Exit(0), kInfraRetries).failure.code, "EXITED_EARLY");
}

TEST(RetryPolicy, AnOverdueRunIsNotQueuedAgain) {
  RunSnapshot run = Running();
  run.overdue = true;
  EXPECT_EQ(DecideAttemptEnd(run, Lost(), kInfraRetries).failure.code, "MAX_RUN_TIME");
  run.overdue = false;
  run.state = RunState::kTerminating;
  run.stop_requested = StopKind::kDeadline;
  EXPECT_EQ(DecideAttemptEnd(run, Exit(75), kInfraRetries).failure.code, "MAX_RUN_TIME");
}

TEST(RetryPolicy, TheRequeueSaysFromWhereItGoesOn) {
  RunSnapshot run = Running();
  EXPECT_NE(DecideAttemptEnd(run, Lost(), kInfraRetries).message.find("from the beginning"),
            std::string::npos);
  run.has_checkpoint = true;
  EXPECT_NE(DecideAttemptEnd(run, Lost(), kInfraRetries).message.find("newest checkpoint"),
            std::string::npos);
}

}  // namespace
}  // namespace finetuned
