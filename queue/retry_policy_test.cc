#include "queue/retry_policy.h"

#include <gtest/gtest.h>

namespace finetuned {
namespace {

const RetryLimits kLimits = [] {
  RetryLimits limits;
  limits.infrastructure = 2;
  limits.stalls = 1;
  return limits;
}();

RunSnapshot Running() {
  RunSnapshot run;
  run.run_id = 1;
  run.state = RunState::kRunning;
  run.epoch = 1;
  run.attempts.emplace_back();
  run.attempts.back().worker_id = 1;
  return run;
}

PastAttempt Past(Attribution who, bool saved = false) {
  PastAttempt attempt;
  attempt.worker_id = 1;
  attempt.attribution = who;
  attempt.saved = saved;
  return attempt;
}

// Running, after these attempts.
RunSnapshot After(std::vector<PastAttempt> before) {
  RunSnapshot run = Running();
  run.attempts.insert(run.attempts.begin(), before.begin(), before.end());
  run.epoch = static_cast<int64_t>(run.attempts.size());
  for (size_t i = 0; i < run.attempts.size(); ++i) run.attempts[i].epoch = i + 1;
  return run;
}

std::vector<PastAttempt> Times(int count, Attribution who) {
  return std::vector<PastAttempt>(count, Past(who));
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
  const AttemptDecision decision = DecideAttemptEnd(Running(), end, kLimits);
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
    const AttemptDecision decision = DecideAttemptEnd(run, end, kLimits);
    EXPECT_EQ(decision.transition, RunTransition::kStop);
    EXPECT_EQ(decision.event, EventType::kCanceled);
    EXPECT_EQ(decision.message, CanceledMessage());
  }
}

TEST(RetryPolicy, UserErrorsAreNeverRetried) {
  RunSnapshot run = Running();
  run.max_retries = 100;
  AttemptEnd said = Exit(1);
  said.failure.attribution = Attribution::kUser;
  said.failure.code = "UNKNOWN_EXAMPLE_TYPE";
  said.failure.message = "Found keys";
  for (const AttemptEnd& end : {Exit(64), Exit(78), said}) {
    const AttemptDecision decision = DecideAttemptEnd(run, end, kLimits);
    EXPECT_EQ(decision.transition, RunTransition::kFail);
    EXPECT_EQ(decision.failure.attribution, Attribution::kUser);
    EXPECT_EQ(decision.attribution, Attribution::kUser);
  }
  EXPECT_EQ(DecideAttemptEnd(run, said, kLimits).message, "Found keys");
  EXPECT_EQ(DecideAttemptEnd(run, said, kLimits).failure.code, "UNKNOWN_EXAMPLE_TYPE");
}

TEST(RetryPolicy, BadDataAreToldApartAndNeverRetried) {
  RunSnapshot run = Running();
  run.max_retries = 100;
  AttemptEnd by_status = Exit(65);
  by_status.failure.attribution = Attribution::kUser;
  AttemptEnd said = Exit(1);
  said.failure.attribution = Attribution::kData;
  for (const AttemptEnd& end : {Exit(65), by_status, said}) {
    const AttemptDecision decision = DecideAttemptEnd(run, end, kLimits);
    EXPECT_EQ(decision.transition, RunTransition::kFail);
    EXPECT_EQ(decision.failure.attribution, Attribution::kData);
  }
}

TEST(RetryPolicy, InfrastructureIsRetriedUpToItsOwnLimitAndNotTheUsers) {
  for (const AttemptEnd& end : {Lost(), Signal(9), Exit(75)}) {
    AttemptDecision decision = DecideAttemptEnd(Running(), end, kLimits);
    EXPECT_EQ(decision.transition, RunTransition::kRequeue);
    EXPECT_EQ(decision.attribution, Attribution::kInfrastructure);
    EXPECT_NE(decision.message.find("(1 of at most 2)"), std::string::npos);
    // What the trainer itself has failed does not count here.
    RunSnapshot run = After(Times(5, Attribution::kInternal));
    run.max_retries = 100;
    EXPECT_EQ(DecideAttemptEnd(run, end, kLimits).transition, RunTransition::kRequeue);
    run = After(Times(1, Attribution::kInfrastructure));
    EXPECT_EQ(DecideAttemptEnd(run, end, kLimits).transition, RunTransition::kRequeue);
    run = After(Times(2, Attribution::kInfrastructure));
    decision = DecideAttemptEnd(run, end, kLimits);
    EXPECT_EQ(decision.transition, RunTransition::kFail);
    EXPECT_EQ(decision.failure.code, "INFRASTRUCTURE_RETRIES_EXHAUSTED");
  }
}

TEST(RetryPolicy, EachClassOfLossHasItsOwnBound) {
  AttemptEnd network = Exit(75);
  network.failure.attribution = Attribution::kNetwork;
  RunSnapshot run = After(Times(2, Attribution::kInfrastructure));
  AttemptDecision decision = DecideAttemptEnd(run, network, kLimits);
  EXPECT_EQ(decision.transition, RunTransition::kRequeue);
  EXPECT_EQ(decision.attribution, Attribution::kNetwork);
  EXPECT_EQ(decision.failure.attribution, Attribution::kNetwork);
  run = After(Times(2, Attribution::kNetwork));
  EXPECT_EQ(DecideAttemptEnd(run, network, kLimits).failure.code,
            "INFRASTRUCTURE_RETRIES_EXHAUSTED");
  EXPECT_EQ(DecideAttemptEnd(run, Lost(), kLimits).transition, RunTransition::kRequeue);
}

TEST(RetryPolicy, LossesAreCountedSinceTheLastCheckpoint) {
  std::vector<PastAttempt> before = Times(20, Attribution::kInfrastructure);
  before.push_back(Past(Attribution::kInfrastructure, /*saved=*/true));
  EXPECT_NE(DecideAttemptEnd(After(before), Lost(), kLimits).message.find("(2 of at most 2)"),
            std::string::npos);
  before.push_back(Past(Attribution::kInfrastructure));
  EXPECT_EQ(DecideAttemptEnd(After(before), Lost(), kLimits).transition, RunTransition::kFail);
  // One that was preempted has saved one: no loss itself, it ends the row.
  before.push_back(Past(Attribution::kPreempted, /*saved=*/true));
  EXPECT_NE(DecideAttemptEnd(After(before), Lost(), kLimits).message.find("(1 of at most 2)"),
            std::string::npos);
  // The one that ends now has saved one itself.
  RunSnapshot run = After(before);
  run.attempts.back().saved = true;
  EXPECT_NE(DecideAttemptEnd(run, Lost(), kLimits).message.find("(1 of at most 2)"),
            std::string::npos);
}

TEST(RetryPolicy, TheNextAttemptWaitsLongerWithEachThatGetsNowhere) {
  EXPECT_EQ(RetryDelay(0, kLimits), absl::ZeroDuration());
  EXPECT_EQ(RetryDelay(1, kLimits), absl::ZeroDuration());
  EXPECT_EQ(RetryDelay(2, kLimits), absl::Seconds(10));
  EXPECT_EQ(RetryDelay(3, kLimits), absl::Seconds(20));
  EXPECT_EQ(RetryDelay(7, kLimits), absl::Seconds(320));
  EXPECT_EQ(RetryDelay(8, kLimits), absl::Minutes(10));
  EXPECT_EQ(RetryDelay(1'000'000, kLimits), absl::Minutes(10));

  RetryLimits quick;
  quick.first_delay = absl::Milliseconds(100);
  quick.longest_delay = absl::Seconds(1);
  EXPECT_EQ(RetryDelay(3, quick), absl::Milliseconds(200));
  EXPECT_EQ(RetryDelay(6, quick), absl::Seconds(1));

  EXPECT_EQ(DecideAttemptEnd(Running(), Lost(), kLimits).retry_delay, absl::ZeroDuration());
  const AttemptDecision second =
      DecideAttemptEnd(After(Times(1, Attribution::kNetwork)), Lost(), kLimits);
  EXPECT_EQ(second.retry_delay, absl::Seconds(10));
  EXPECT_NE(second.message.find(", in 10s at the earliest."), std::string::npos);
  // A failure of the trainer that is retried waits as well; one that was preempted does not count.
  RunSnapshot run = After({Past(Attribution::kInternal), Past(Attribution::kPreempted)});
  run.max_retries = 5;
  EXPECT_EQ(DecideAttemptEnd(run, Exit(1), kLimits).retry_delay, absl::Seconds(10));
  AttemptEnd preempted = Exit(75);
  preempted.stop = StopKind::kPreempt;
  EXPECT_EQ(DecideAttemptEnd(run, preempted, kLimits).retry_delay, absl::ZeroDuration());
}

PastAttempt TookDown(int64_t worker, absl::Duration lived = absl::Minutes(1)) {
  PastAttempt attempt = Past(Attribution::kInfrastructure);
  attempt.worker_id = worker;
  attempt.worker_lost = true;
  attempt.lived = lived;
  return attempt;
}

TEST(RetryPolicy, ARunThatTakesWorkersDownIsStopped) {
  const RetryLimits limits;
  const auto end_of = [&](std::vector<PastAttempt> before, const AttemptEnd& end) {
    return DecideAttemptEnd(After(std::move(before)), end, limits);
  };
  const AttemptDecision third = end_of({TookDown(2), TookDown(3)}, Lost());
  EXPECT_EQ(third.transition, RunTransition::kFail);
  EXPECT_EQ(third.failure.code, "TAKES_WORKERS_DOWN");
  EXPECT_NE(third.message.find("3 different ones"), std::string::npos);
  // Two are enough to tell them from the run; the one that is lost now is worker 1.
  EXPECT_EQ(end_of({TookDown(1), TookDown(2)}, Lost()).failure.code, "TAKES_WORKERS_DOWN");
  EXPECT_EQ(end_of({TookDown(2)}, Lost()).transition, RunTransition::kRequeue);
  // Always the same worker, which may be the cause as well.
  EXPECT_EQ(end_of({TookDown(1), TookDown(1)}, Lost()).transition, RunTransition::kRequeue);
  // One that lived for long, that saved, or that was lost without its worker.
  EXPECT_EQ(end_of({TookDown(2), TookDown(3, kBriefLife)}, Lost()).transition,
            RunTransition::kRequeue);
  PastAttempt saved = TookDown(3);
  saved.saved = true;
  EXPECT_EQ(end_of({TookDown(2), saved}, Lost()).transition, RunTransition::kRequeue);
  EXPECT_EQ(end_of({TookDown(2), TookDown(3)}, Signal(9)).transition, RunTransition::kRequeue);
  EXPECT_EQ(end_of({TookDown(2), Past(Attribution::kInfrastructure)}, Lost()).transition,
            RunTransition::kRequeue);
  // Nobody asks for it.
  RetryLimits never;
  never.worker_losses = 0;
  EXPECT_EQ(DecideAttemptEnd(After({TookDown(2), TookDown(3)}), Lost(), never).transition,
            RunTransition::kRequeue);
}

TEST(RetryPolicy, ThereIsAnEndToAttemptsThatCostNothing) {
  AttemptEnd preempted = Exit(75);
  preempted.stop = StopKind::kPreempt;
  RunSnapshot run = After(Times(kMaxRunAttempts - 2, Attribution::kPreempted));
  EXPECT_EQ(DecideAttemptEnd(run, preempted, kLimits).transition, RunTransition::kRequeue);
  run = After(Times(kMaxRunAttempts - 1, Attribution::kPreempted));
  EXPECT_EQ(DecideAttemptEnd(run, preempted, kLimits).failure.code, "ATTEMPTS_EXHAUSTED");
}

TEST(RetryPolicy, ATrainersFailureIsRetriedAsOftenAsTheUserSaid) {
  AttemptDecision decision = DecideAttemptEnd(Running(), Exit(1), kLimits);
  EXPECT_EQ(decision.transition, RunTransition::kFail);
  EXPECT_EQ(decision.failure.code, "TRAINER_FAILED");
  RunSnapshot run = After(Times(1, Attribution::kInternal));
  run.max_retries = 2;
  decision = DecideAttemptEnd(run, Exit(1), kLimits);
  EXPECT_EQ(decision.transition, RunTransition::kRequeue);
  EXPECT_EQ(decision.attribution, Attribution::kInternal);
  EXPECT_NE(decision.message.find("(retry 2 of 2)"), std::string::npos);
  // All of them, whatever was saved in between: it is the user's number.
  std::vector<PastAttempt> before = {Past(Attribution::kInternal, /*saved=*/true),
                                     Past(Attribution::kInternal, /*saved=*/true)};
  run = After(before);
  run.max_retries = 2;
  EXPECT_EQ(DecideAttemptEnd(run, Exit(1), kLimits).transition, RunTransition::kFail);
}

TEST(RetryPolicy, MemoryThatRanOutWouldRunOutAgain) {
  AttemptEnd end = Signal(9);
  end.out_of_memory = true;
  const AttemptDecision decision = DecideAttemptEnd(Running(), end, kLimits);
  EXPECT_EQ(decision.transition, RunTransition::kFail);
  EXPECT_EQ(decision.failure.code, "OUT_OF_MEMORY");
  EXPECT_EQ(decision.failure.attribution, Attribution::kOutOfMemory);
  EXPECT_EQ(decision.attribution, Attribution::kOutOfMemory);
}

TEST(RetryPolicy, APreemptedAttemptIsQueuedAgainAtNoCost) {
  AttemptEnd end = Exit(75);
  end.stop = StopKind::kPreempt;
  const AttemptDecision decision = DecideAttemptEnd(Running(), end, kLimits);
  EXPECT_EQ(decision.transition, RunTransition::kRequeue);
  EXPECT_EQ(decision.attribution, Attribution::kPreempted);
  EXPECT_EQ(decision.failure.attribution, Attribution::kPreempted);
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
    const AttemptDecision decision = DecideAttemptEnd(run, end, kLimits);
    EXPECT_EQ(decision.transition, RunTransition::kPause);
    EXPECT_EQ(decision.event, EventType::kPaused);
    EXPECT_NE(decision.message.find("newest checkpoint"), std::string::npos);
  }
  run.has_checkpoint = false;
  EXPECT_NE(DecideAttemptEnd(run, Lost(), kLimits).message.find("from the beginning"),
            std::string::npos);
  EXPECT_EQ(DecideAttemptEnd(run, Exit(65), kLimits).transition, RunTransition::kFail);
  AttemptEnd finished = Exit(0);
  finished.finished = true;
  EXPECT_EQ(DecideAttemptEnd(run, finished, kLimits).transition, RunTransition::kComplete);
}

TEST(RetryPolicy, ADamagedCheckpointIsPassedOverForTheOneBefore) {
  AttemptEnd end;
  end.failure.code = "CHECKPOINT_DAMAGED";
  end.failure.message = "Not what was published: ep1-ba2.";
  end.failure.attribution = Attribution::kInfrastructure;
  RunSnapshot run = Running();
  run.has_checkpoint = run.has_older_checkpoint = true;
  AttemptDecision decision = DecideAttemptEnd(run, end, kLimits);
  EXPECT_EQ(decision.transition, RunTransition::kRequeue);
  EXPECT_TRUE(decision.drops_checkpoint);
  EXPECT_EQ(decision.attribution, Attribution::kUnknown);
  EXPECT_EQ(decision.failure.attribution, Attribution::kInfrastructure);
  EXPECT_NE(decision.message.find("from the checkpoint before it"), std::string::npos);
  run.has_older_checkpoint = false;
  EXPECT_NE(DecideAttemptEnd(run, end, kLimits).message.find("from the beginning"),
            std::string::npos);
  // A trainer's word takes no checkpoint away, nor does one that has begun.
  AttemptEnd said = end;
  said.exit_code = 1;
  said.failure.attribution = Attribution::kInternal;
  decision = DecideAttemptEnd(run, said, kLimits);
  EXPECT_EQ(decision.transition, RunTransition::kFail);
  EXPECT_FALSE(decision.drops_checkpoint);
  run.acked_report = 1;
  EXPECT_FALSE(DecideAttemptEnd(run, end, kLimits).drops_checkpoint);
  run.acked_report = 0;
  run.has_checkpoint = false;
  EXPECT_FALSE(DecideAttemptEnd(run, end, kLimits).drops_checkpoint);
}

TEST(RetryPolicy, ATrainerThatHangsIsRetriedAsALossAndSaysSo) {
  AttemptEnd end = Signal(9, true);
  end.stop = StopKind::kPreempt;
  end.failure.code = "TRAINER_STALLED";
  end.failure.message = "The trainer said nothing for 30m.";
  end.failure.attribution = Attribution::kStalled;
  AttemptDecision decision = DecideAttemptEnd(Running(), end, kLimits);
  EXPECT_EQ(decision.transition, RunTransition::kRequeue);
  EXPECT_EQ(decision.attribution, Attribution::kStalled);
  EXPECT_EQ(decision.failure.attribution, Attribution::kStalled);
  EXPECT_EQ(decision.failure.code, "TRAINER_STALLED");
  // Each has cost the watchdog's time: there are fewer.
  decision = DecideAttemptEnd(After(Times(1, Attribution::kStalled)), end, kLimits);
  EXPECT_EQ(decision.transition, RunTransition::kFail);
  EXPECT_EQ(decision.failure.code, "STALLS_EXHAUSTED");
}

TEST(RetryPolicy, AWorkerThatStoppedBecauseItWasCutOffCostsALoss) {
  AttemptEnd end = Exit(75);
  end.stop = StopKind::kPreempt;
  end.failure.code = "WORKER_DISCONNECTED";
  end.failure.attribution = Attribution::kInfrastructure;
  const AttemptDecision decision = DecideAttemptEnd(Running(), end, kLimits);
  EXPECT_EQ(decision.transition, RunTransition::kRequeue);
  EXPECT_EQ(decision.attribution, Attribution::kInfrastructure);
}

TEST(RetryPolicy, TheMessageSaysToWhatAnAttemptWasLost) {
  AttemptEnd network = Exit(75);
  network.failure.attribution = Attribution::kNetwork;
  network.failure.message = "The hub does not answer.";
  EXPECT_EQ(DecideAttemptEnd(Running(), network, kLimits).message,
            "Attempt 1 was lost to the network (1 of at most 2): The hub does not answer. The next "
            "attempt starts from the beginning.");
  AttemptEnd hung = Signal(9, true);
  hung.failure.attribution = Attribution::kStalled;
  EXPECT_EQ(DecideAttemptEnd(Running(), hung, kLimits).message,
            "Attempt 1 was lost to a trainer that hung (1 of at most 1): The trainer was ended by "
            "signal 9. The next attempt starts from the beginning.");
  EXPECT_EQ(DecideAttemptEnd(After(Times(1, Attribution::kStalled)), hung, kLimits).message,
            "2 attempts were lost to a trainer that hung without a new checkpoint in between. The "
            "last: The trainer was ended by signal 9.");
}

TEST(RetryPolicy, WeightsThatAreNotWhereTheyBelongAreALossAndNotTheEnd) {
  RunSnapshot run = Running();
  run.registers = true;
  AttemptEnd end = Exit(0);
  end.finished = true;
  const AttemptDecision decision = DecideAttemptEnd(run, end, kLimits);
  EXPECT_EQ(decision.transition, RunTransition::kRequeue);
  EXPECT_EQ(decision.failure.code, "MODEL_NOT_REGISTERED");
  EXPECT_EQ(decision.attribution, Attribution::kInfrastructure);
  EXPECT_NE(decision.message.find("has not put the final weights"), std::string::npos);
  end.model.emplace();
  EXPECT_EQ(DecideAttemptEnd(run, end, kLimits).transition, RunTransition::kComplete);
}

TEST(RetryPolicy, ATrainerThatExitsWithoutFinishingHasFailed) {
  EXPECT_EQ(DecideAttemptEnd(Running(), Exit(0), kLimits).failure.attribution,
            Attribution::kInternal);
  EXPECT_EQ(DecideAttemptEnd(Running(), Exit(0), kLimits).failure.code, "EXITED_EARLY");
}

TEST(RetryPolicy, AnOverdueRunIsNotQueuedAgain) {
  RunSnapshot run = Running();
  run.overdue = true;
  EXPECT_EQ(DecideAttemptEnd(run, Lost(), kLimits).failure.code, "MAX_RUN_TIME");
  EXPECT_EQ(DecideAttemptEnd(run, Lost(), kLimits).message,
            "The run reached its scheduling.max_run_time. Attempt 1 was lost (1 of at most 2): The "
            "worker was lost.");
  run.overdue = false;
  run.state = RunState::kTerminating;
  run.stop_requested = StopKind::kDeadline;
  const AttemptDecision over = DecideAttemptEnd(run, Exit(75), kLimits);
  EXPECT_EQ(over.failure.code, "MAX_RUN_TIME");
  EXPECT_EQ(over.failure.attribution, Attribution::kUser);
  EXPECT_EQ(over.attribution, Attribution::kUser);
  EXPECT_EQ(over.failure.exit_code, 75);
}

TEST(RetryPolicy, TheRequeueSaysFromWhereItGoesOn) {
  RunSnapshot run = Running();
  EXPECT_NE(DecideAttemptEnd(run, Lost(), kLimits).message.find("from the beginning"),
            std::string::npos);
  run.has_checkpoint = true;
  EXPECT_NE(DecideAttemptEnd(run, Lost(), kLimits).message.find("newest checkpoint"),
            std::string::npos);
}

}  // namespace
}  // namespace finetuned
