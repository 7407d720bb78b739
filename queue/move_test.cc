#include "queue/move.h"

#include <gtest/gtest.h>

#include "base/status.h"
#include "queue/pause.h"

namespace finetuned {
namespace {

const RetryLimits kLimits;

RunSnapshot Held(RunState state = RunState::kRunning) {
  RunSnapshot run;
  run.run_id = 7;
  run.state = state;
  run.epoch = run.lease_epoch = 2;
  run.session_id = 5;
  run.acked_report = 3;
  run.attempts.resize(2);
  run.attempts[1].epoch = 2;
  run.attempts[1].worker_id = 11;
  return run;
}

RunSnapshot Waiting(RunState state = RunState::kPending) {
  RunSnapshot run;
  run.run_id = 7;
  run.state = state;
  return run;
}

AttemptEnd Finished() {
  AttemptEnd end;
  end.exit_code = 0;
  end.finished = true;
  return end;
}

AttemptEnd Killed() {
  AttemptEnd end;
  end.signal = 9;
  return end;
}

TEST(Move, OnlyTheSessionThatHoldsAnAttemptEndsItAndOnlyAfterItsReports) {
  const auto reason = [](const RunSnapshot& run, int64_t session, int64_t epoch, int64_t last) {
    return ErrorReason(MoveAtCompletion(run, session, epoch, last, Killed(), kLimits).status());
  };
  EXPECT_EQ(reason(Held(), 5, 2, 3), "");
  EXPECT_EQ(reason(Held(), 6, 2, 3), "LEASE_LOST");
  EXPECT_EQ(reason(Held(), 5, 1, 3), "LEASE_LOST");
  EXPECT_EQ(reason(Waiting(), 5, 2, 3), "LEASE_LOST");
  EXPECT_EQ(reason(Held(), 5, 2, 4), "REPORTS_MISSING");
}

TEST(Move, ARequeueCarriesWhatTheHistoryAndTheUserAreToKnow) {
  RunSnapshot run = Held();
  run.attempts[0].attribution = Attribution::kInfrastructure;
  const auto move = MoveAtCompletion(run, 5, 2, 3, Killed(), kLimits);
  ASSERT_TRUE(move.ok()) << move.status();
  EXPECT_EQ(move->run_id, 7);
  EXPECT_EQ(move->from, RunState::kRunning);
  EXPECT_EQ(move->to, RunState::kPending);
  EXPECT_EQ(move->event, EventType::kRequeued);
  EXPECT_EQ(move->stop_requested, StopKind::kNone);
  EXPECT_TRUE(move->ends_attempt);
  EXPECT_EQ(move->worker_id, 11);
  EXPECT_EQ(move->attribution, Attribution::kInfrastructure);
  EXPECT_FALSE(move->worker_lost);
  EXPECT_EQ(move->retry_delay, kLimits.first_delay);
  EXPECT_NE(move->message, "");
  EXPECT_EQ(move->state_reason, move->message);
  ASSERT_TRUE(move->failure.has_value());
  EXPECT_EQ(move->failure->code, "ATTEMPT_LOST");
  EXPECT_EQ(move->failure->signal, 9);
  EXPECT_FALSE(move->drops_checkpoint);
}

TEST(Move, ACompletedRunHasNoFailureAndItsModelWhereItRegistersOne) {
  AttemptEnd end = Finished();
  end.model = ModelFiles{"ep1-ba9", 12, "abc"};
  auto move = MoveAtCompletion(Held(RunState::kTerminating), 5, 2, 3, end, kLimits);
  ASSERT_TRUE(move.ok());
  EXPECT_EQ(move->to, RunState::kCompleted);
  EXPECT_EQ(move->event, EventType::kCompleted);
  EXPECT_EQ(move->message, CompletedMessage());
  EXPECT_EQ(move->state_reason, "");
  EXPECT_FALSE(move->failure.has_value());
  EXPECT_FALSE(move->model.has_value());
  RunSnapshot registers = Held(RunState::kTerminating);
  registers.registers = true;
  move = MoveAtCompletion(registers, 5, 2, 3, end, kLimits);
  ASSERT_TRUE(move.ok() && move->model.has_value());
  EXPECT_EQ(move->model->checkpoint, "ep1-ba9");
  // What was canceled registers nothing.
  registers.stop_requested = StopKind::kCancel;
  move = MoveAtCompletion(registers, 5, 2, 3, end, kLimits);
  EXPECT_EQ(move->to, RunState::kStopped);
  EXPECT_FALSE(move->model.has_value());
}

TEST(Move, AFailureAndAPauseSayWhy) {
  AttemptEnd bad;
  bad.exit_code = 65;
  auto move = MoveAtCompletion(Held(), 5, 2, 3, bad, kLimits);
  EXPECT_EQ(move->to, RunState::kFailed);
  EXPECT_EQ(move->state_reason, move->message);
  EXPECT_EQ(move->failure->attribution, Attribution::kData);
  RunSnapshot pausing = Held(RunState::kTerminating);
  pausing.stop_requested = StopKind::kPause;
  move = MoveAtCompletion(pausing, 5, 2, 3, Killed(), kLimits);
  EXPECT_EQ(move->to, RunState::kPaused);
  EXPECT_EQ(move->state_reason, move->message);
  EXPECT_FALSE(move->failure.has_value());
}

TEST(Move, ADamagedCheckpointIsDropped) {
  RunSnapshot run = Held(RunState::kStarting);
  run.acked_report = 0;
  run.has_checkpoint = true;
  AttemptEnd end;
  end.failure.code = kCheckpointDamaged;
  end.failure.message = "ep1-ba5 does not match its manifest.";
  end.failure.attribution = Attribution::kInfrastructure;
  EXPECT_TRUE(MoveAtCompletion(run, 5, 2, 0, end, kLimits)->drops_checkpoint);
}

TEST(Move, ALossNeedsEvidenceThatStillHolds) {
  const auto moves = [](const RunSnapshot& run, const LossEvidence& evidence) {
    const auto move = MoveAtLoss(run, evidence, kLimits);
    EXPECT_TRUE(move.ok()) << move.status();
    return move.ok() && move->has_value();
  };
  RunSnapshot expired = Held();
  expired.lease_expired = true;
  EXPECT_TRUE(moves(expired, {2, true, 0, "why"}));
  EXPECT_FALSE(moves(Held(), {2, true, 0, "why"}));
  EXPECT_FALSE(moves(expired, {1, true, 0, "why"}));
  RunSnapshot released = expired;
  released.lease_epoch = 0;
  EXPECT_FALSE(moves(released, {2, true, 0, "why"}));
  RunSnapshot ended = expired;
  ended.state = RunState::kPending;
  EXPECT_FALSE(moves(ended, {2, true, 0, "why"}));
  // By a newer session of its worker.
  EXPECT_TRUE(moves(Held(), {2, false, 6, "why"}));
  EXPECT_FALSE(moves(Held(), {2, false, 5, "why"}));
}

TEST(Move, ALossIsTheWorkersAndSaysWhy) {
  const auto move = MoveAtLoss(Held(), {2, false, 6, "The worker came back without it."}, kLimits);
  ASSERT_TRUE(move.ok() && move->has_value());
  EXPECT_TRUE((*move)->worker_lost);
  EXPECT_EQ((*move)->attribution, Attribution::kInfrastructure);
  EXPECT_EQ((*move)->failure->code, "ATTEMPT_LOST");
  EXPECT_EQ((*move)->failure->message, "The worker came back without it.");
}

TEST(Move, ACancelStopsAWaitingRunAtOnceAndAsksTheWorkerOfAHeldOne) {
  for (const RunState state : {RunState::kPending, RunState::kPaused}) {
    const auto move = MoveAtCancel(Waiting(state), "Not needed.");
    ASSERT_TRUE(move.ok() && move->has_value());
    EXPECT_EQ((*move)->run_id, 7);
    EXPECT_EQ((*move)->from, state);
    EXPECT_EQ((*move)->to, RunState::kStopped);
    EXPECT_EQ((*move)->event, EventType::kCanceled);
    EXPECT_EQ((*move)->message, CanceledMessage());
    EXPECT_EQ((*move)->state_reason, "Not needed.");
    EXPECT_FALSE((*move)->ends_attempt);
  }
  for (const RunState state :
       {RunState::kQueued, RunState::kStarting, RunState::kRunning, RunState::kTerminating}) {
    const auto move = MoveAtCancel(Held(state), "Not needed.");
    ASSERT_TRUE(move.ok() && move->has_value());
    EXPECT_EQ((*move)->run_id, 7);
    EXPECT_EQ((*move)->from, state);
    EXPECT_EQ((*move)->to, RunState::kTerminating);
    EXPECT_EQ((*move)->event, EventType::kStopRequested);
    EXPECT_EQ((*move)->message, "Not needed.");
    EXPECT_EQ((*move)->state_reason, "Not needed.");
    EXPECT_EQ((*move)->stop_requested, StopKind::kCancel);
    EXPECT_FALSE((*move)->ends_attempt);
  }
  for (const RunState state : {RunState::kCompleted, RunState::kFailed, RunState::kStopped}) {
    EXPECT_FALSE(MoveAtCancel(Waiting(state), "").value().has_value());
  }
  RunSnapshot canceled = Held(RunState::kTerminating);
  canceled.stop_requested = StopKind::kCancel;
  EXPECT_FALSE(MoveAtCancel(canceled, "").value().has_value());
}

TEST(Move, APauseIsCarriedOutTheSameWay) {
  auto move = MoveAtPause(Waiting(), 0, "Lunch.");
  ASSERT_TRUE(move.ok() && move->has_value());
  EXPECT_EQ((*move)->to, RunState::kPaused);
  EXPECT_EQ((*move)->event, EventType::kPaused);
  EXPECT_EQ((*move)->message, PausedMessage(false));
  EXPECT_EQ((*move)->state_reason, "Lunch.");
  move = MoveAtPause(Held(), 0, "Lunch.");
  ASSERT_TRUE(move.ok() && move->has_value());
  EXPECT_EQ((*move)->to, RunState::kTerminating);
  EXPECT_EQ((*move)->stop_requested, StopKind::kPause);
  EXPECT_FALSE(MoveAtPause(Waiting(RunState::kPaused), 0, "").value().has_value());
  EXPECT_EQ(ErrorReason(MoveAtPause(Held(), kMaxPausedRuns, "").status()), "PAUSED_RUNS_QUOTA");
}

TEST(Move, TheServicesOwnStopNeverTakesTheUsersPlace) {
  const auto move = MoveAtStop(Held(), StopKind::kDeadline, "Over.");
  ASSERT_TRUE(move.ok() && move->has_value());
  EXPECT_EQ((*move)->stop_requested, StopKind::kDeadline);
  EXPECT_EQ((*move)->message, "Over.");
  RunSnapshot pausing = Held(RunState::kTerminating);
  pausing.stop_requested = StopKind::kPause;
  EXPECT_FALSE(MoveAtStop(pausing, StopKind::kPreempt, "").value().has_value());
  EXPECT_FALSE(MoveAtStop(Waiting(), StopKind::kPreempt, "").value().has_value());
}

TEST(Move, AWaitThatWasTooLongFailsTheRun) {
  EXPECT_FALSE(MoveAtQueueTimeout(Waiting()).value().has_value());
  RunSnapshot run = Waiting();
  run.queue_overdue = true;
  const auto move = MoveAtQueueTimeout(run);
  ASSERT_TRUE(move.ok() && move->has_value());
  EXPECT_EQ((*move)->to, RunState::kFailed);
  EXPECT_EQ((*move)->event, EventType::kFailed);
  EXPECT_EQ((*move)->failure->code, "QUEUE_TIMEOUT");
  EXPECT_EQ((*move)->failure->attribution, Attribution::kUser);
  EXPECT_EQ((*move)->message, (*move)->failure->message);
  EXPECT_EQ((*move)->state_reason, (*move)->message);
  EXPECT_FALSE((*move)->ends_attempt);
}

}  // namespace
}  // namespace finetuned
