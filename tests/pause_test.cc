// Pausing and resuming: what becomes of the run, of its slot, and of its time.

#include <atomic>
#include <thread>

#include "absl/strings/str_cat.h"
#include "tests/lifecycle.h"

namespace finetuned {
namespace {

using Type = v1::RunEvent;

class PauseTest : public LifecycleTest {
 protected:
  std::string Active() {
    return installation_.Sql("select active from owners where email = 'ann@example.com'");
  }

  v1::RunEvent Checkpoint(int64_t step) {
    v1::RunEvent event = EventOfType(Type::CHECKPOINT_SAVED);
    v1::Checkpoint& checkpoint = *event.mutable_checkpoint();
    checkpoint.set_name("ep1-ba" + std::to_string(step));
    checkpoint.set_path(lease_.checkpoints_path() + "/" + checkpoint.name());
    checkpoint.set_step(step);
    return event;
  }

  // Runs until it has a checkpoint, is asked to pause, and ends as a trainer does then.
  v1::AttemptRef PauseAtCheckpoint() {
    const v1::AttemptRef attempt = StartRun();
    EXPECT_TRUE(worker_.Report(attempt, 1, {EventOfType(Type::STARTED)}).ok());
    EXPECT_EQ(user_.Pause(name_)->state(), v1::Run::TERMINATING);
    EXPECT_TRUE(worker_.Report(attempt, 2, {Checkpoint(3)}).ok());
    v1::AttemptEnd end = Exit(75);
    end.set_stop(v1::PAUSE);
    end.set_signaled_by_worker(true);
    EXPECT_TRUE(worker_.Complete(attempt, end, 2).ok());
    worker_.held.clear();
    return attempt;
  }
};

TEST_F(PauseTest, ARunIsPausedWithACheckpointAndGoesOnFromIt) {
  PauseAtCheckpoint();
  v1::Run run = Run();
  EXPECT_EQ(run.state(), v1::Run::PAUSED);
  EXPECT_EQ(run.stop_requested(), v1::STOP_KIND_UNSPECIFIED);
  EXPECT_NE(run.state_reason().find("newest checkpoint"), std::string::npos);
  EXPECT_EQ(run.worker(), "");
  EXPECT_FALSE(run.has_end_time());
  EXPECT_EQ(Active(), "0");
  // It is nobody's to run.
  EXPECT_EQ(worker_.Acquire(1)->leases_size(), 0);

  const auto resumed = user_.Resume(name_);
  ASSERT_TRUE(resumed.ok()) << resumed.status();
  EXPECT_EQ(resumed->state(), v1::Run::PENDING);
  EXPECT_TRUE(resumed->has_wait());
  // Of why it was paused nothing is left.
  EXPECT_EQ(resumed->state_reason().find("newest checkpoint"), std::string::npos)
      << resumed->state_reason();
  EXPECT_EQ(Active(), "1");
  const v1::AttemptRef second = LeaseAgain();
  EXPECT_EQ(second.epoch(), 2);
  EXPECT_EQ(lease_.resume_from(), lease_.checkpoints_path() + "/ep1-ba3");
  ASSERT_TRUE(
      worker_.Report(second, 1, {EventOfType(Type::STARTED), EventOfType(Type::TRAIN_FINISHED)})
          .ok());
  ASSERT_TRUE(worker_.Complete(second, Exit(0, true), 2).ok());
  EXPECT_EQ(Run().state(), v1::Run::COMPLETED);
  EXPECT_EQ(Active(), "0");
  EXPECT_EQ(EventTypes(),
            (std::vector<Type::Type>{Type::CREATED, Type::STARTED, Type::STOP_REQUESTED,
                                     Type::CHECKPOINT_SAVED, Type::PAUSED, Type::RESUME_REQUESTED,
                                     Type::STARTED, Type::TRAIN_FINISHED, Type::COMPLETED}));
}

TEST_F(PauseTest, TheWorkerIsToldAtOnce) {
  const v1::AttemptRef attempt = StartRun();
  absl::StatusOr<v1::RenewLeasesResponse> renewed;
  std::thread renewal([&] { renewed = worker_.Renew(attempt, 10); });
  EXPECT_EQ(user_.Pause(name_)->stop_requested(), v1::PAUSE);
  renewal.join();
  ASSERT_TRUE(renewed.ok()) << renewed.status();
  EXPECT_EQ(renewed->results(0).desired_stop(), v1::PAUSE);
}

TEST_F(PauseTest, AWaitingRunIsPausedAtOnceAndLosesItsPlace) {
  v1::CreateRunRequest request = ValidRequest(installation_);
  request.set_run_id("first");
  ASSERT_TRUE(user_.Create(request).ok());
  EXPECT_EQ(user_.Pause("first")->state(), v1::Run::PAUSED);
  EXPECT_EQ(user_.Pause("first")->state(), v1::Run::PAUSED);
  EXPECT_EQ(installation_.Sql("select count(*) from run_queue"), "0");
  EXPECT_EQ(Active(), "0");
  request.set_run_id("second");
  ASSERT_TRUE(user_.Create(request).ok());
  ASSERT_TRUE(user_.Resume("first").ok());
  ASSERT_TRUE(worker_.Open().ok());
  LeaseAgain();
  EXPECT_EQ(lease_.run(), "workspaces/default/runs/second");
  LeaseAgain();
  EXPECT_EQ(lease_.run(), "workspaces/default/runs/first");
}

TEST_F(PauseTest, APauseSurvivesTheLossOfItsWorker) {
  const v1::AttemptRef attempt = StartRun();
  ASSERT_TRUE(user_.Pause(name_).ok());
  // The worker comes back and has nothing any more.
  ASSERT_TRUE(worker_.Open().ok());
  EXPECT_EQ(Run().state(), v1::Run::PAUSED);
  EXPECT_NE(Run().state_reason().find("from the beginning"), std::string::npos);
  EXPECT_EQ(ErrorReason(FromProto(
                worker_.Report(attempt, 1, {EventOfType(Type::STARTED)})->results(0).status())),
            "LEASE_LOST");
}

TEST_F(PauseTest, TrainingThatWasOverBeforeCompletes) {
  const v1::AttemptRef attempt = StartRun();
  ASSERT_TRUE(
      worker_.Report(attempt, 1, {EventOfType(Type::STARTED), EventOfType(Type::TRAIN_FINISHED)})
          .ok());
  ASSERT_TRUE(user_.Pause(name_).ok());
  ASSERT_TRUE(worker_.Complete(attempt, Exit(0, true), 2).ok());
  EXPECT_EQ(Run().state(), v1::Run::COMPLETED);
  EXPECT_EQ(ErrorReason(user_.Pause(name_).status()), "RUN_TERMINAL");
  EXPECT_EQ(ErrorReason(user_.Resume(name_).status()), "RUN_TERMINAL");
}

TEST_F(PauseTest, ACancelWinsOverAPauseAndEndsAPausedRun) {
  v1::AttemptRef attempt = StartRun();
  ASSERT_TRUE(user_.Pause(name_).ok());
  ASSERT_TRUE(user_.Cancel(name_).ok());
  EXPECT_EQ(ErrorReason(user_.Pause(name_).status()), "RUN_STOPPING");
  ASSERT_TRUE(worker_.Complete(attempt, Exit(75), 0).ok());
  EXPECT_EQ(Run().state(), v1::Run::STOPPED);
  worker_.held.clear();
  PauseAtCheckpoint();
  EXPECT_EQ(user_.Cancel(name_)->results(0).outcome(), v1::CancelRunsResponse::Result::STOPPED);
  EXPECT_EQ(Run().state(), v1::Run::STOPPED);
  EXPECT_EQ(Active(), "0");
}

TEST_F(PauseTest, AResumeIsAdmittedLikeANewRun) {
  PauseAtCheckpoint();
  EXPECT_EQ(ErrorReason(user_.Pause("nobody").status()), "RUN_NOT_FOUND");
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(user_.Create(ValidRequest(installation_)).ok());
  absl::Status full = user_.Resume(name_).status();
  EXPECT_EQ(full.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ErrorReason(full), "ACTIVE_RUNS_QUOTA");
  EXPECT_EQ(Run().state(), v1::Run::PAUSED);
  EXPECT_EQ(Active(), "10");
  const std::string other =
      installation_.Sql("select name from runs where state = 'PENDING' limit 1");
  ASSERT_TRUE(user_.Pause(other).ok());
  ASSERT_TRUE(user_.Resume(name_).ok());
  EXPECT_EQ(Active(), "10");
  EXPECT_EQ(ErrorReason(user_.Resume(name_).status()), "RUN_NOT_PAUSED");
}

// Many at once over one slot: one goes on, and the counter is right.
TEST_F(PauseTest, TheQuotaHoldsWhateverIsResumedAndCreatedAtOnce) {
  const auto server = installation_.StartDaemon(
      [](config::v1::DaemonConfig* config) { config->set_active_runs_limit(1); });
  constexpr int kRuns = 6;
  for (int i = 0; i < kRuns; ++i) {
    v1::CreateRunRequest request = ValidRequest(installation_);
    request.set_run_id("r" + std::to_string(i));
    ASSERT_TRUE(user_.Create(request).ok());
    ASSERT_TRUE(user_.Pause(request.run_id()).ok());
  }
  std::atomic<int> admitted = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < kRuns; ++i) {
    threads.emplace_back([&, i] {
      TestClient client(server->listen(), installation_.Token("ann@example.com", "user"));
      if (client.Resume("r" + std::to_string(i)).ok()) ++admitted;
      if (client.Create(ValidRequest(installation_)).ok()) ++admitted;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(admitted, 1);
  EXPECT_EQ(Active(), "1");
  EXPECT_EQ(installation_.Sql("select count(*) from runs where state = 'PENDING'"), "1");
  EXPECT_EQ(installation_.Sql("select count(*) from run_queue"), "1");
}

TEST_F(PauseTest, AnOwnerMayHaveAHundredPausedRuns) {
  PauseAtCheckpoint();
  installation_.Sql(
      "insert into runs (workspace_id, owner_id, shape_id, priority, queue_pos, uid, name, model, "
      "experiment_id, state, pause_time) "
      "select workspace_id, owner_id, shape_id, priority, queue_pos, gen_random_uuid(), "
      "'more-' || n, model, experiment_id, 'PAUSED', clock_timestamp() "
      "from runs, generate_series(1, 99) n where state = 'PAUSED'");
  ASSERT_TRUE(user_.Create(ValidRequest(installation_)).ok());
  const std::string other = installation_.Sql("select name from runs where state = 'PENDING'");
  const absl::Status full = user_.Pause(other).status();
  EXPECT_EQ(ErrorReason(full), "PAUSED_RUNS_QUOTA");
  EXPECT_EQ(user_.Get(other)->state(), v1::Run::PENDING);
  ASSERT_TRUE(user_.Cancel("more-7").ok());
  EXPECT_TRUE(user_.Pause(other).ok());
}

TEST_F(PauseTest, TheTimeThatItWasPausedIsNotItsRunTime) {
  v1::CreateRunRequest request = ValidRequest(installation_);
  request.mutable_run()->mutable_spec()->mutable_scheduling()->mutable_max_run_time()->set_seconds(
      3600);
  name_ = user_.Create(request)->name();
  ASSERT_TRUE(worker_.Open().ok());
  v1::AttemptRef attempt = LeaseAgain();
  ASSERT_TRUE(worker_.Report(attempt, 1, {EventOfType(Type::STARTED)}).ok());
  ASSERT_TRUE(user_.Pause(name_).ok());
  ASSERT_TRUE(worker_.Complete(attempt, Exit(75), 1).ok());
  worker_.held.clear();
  // Half an hour of training, and a day of pause.
  installation_.Sql(
      "update runs set start_time = start_time - interval '24.5 hours', "
      "pause_time = pause_time - interval '24 hours' where state = 'PAUSED'");
  ASSERT_TRUE(user_.Resume(name_).ok());
  // And two days in the queue, between which it was paused once more.
  const char* day =
      "update runs set start_time = start_time - interval '24 hours', "
      "resume_time = resume_time - interval '24 hours' where state = 'PENDING'";
  installation_.Sql(day);
  ASSERT_TRUE(user_.Pause(name_).ok());
  ASSERT_TRUE(user_.Resume(name_).ok());
  installation_.Sql(day);
  attempt = LeaseAgain();
  EXPECT_EQ(worker_.Renew(attempt, 2)->results(0).desired_stop(), v1::STOP_KIND_UNSPECIFIED);
  installation_.Sql("update runs set start_time = start_time - interval '31 minutes'");
  EXPECT_EQ(worker_.Renew(attempt, 10)->results(0).desired_stop(), v1::DEADLINE);
}

TEST_F(PauseTest, WithAHoldingLimitAResumedRunWaitsForItsTurn) {
  const auto server = installation_.StartDaemon(
      [](config::v1::DaemonConfig* config) { config->set_holding_runs_limit(1); });
  TestClient user(server->listen(), installation_.Token("ann@example.com", "user"));
  for (const char* name : {"one", "two"}) {
    v1::CreateRunRequest request = ValidRequest(installation_);
    request.set_run_id(name);
    ASSERT_TRUE(user.Create(request).ok());
  }
  // The place in the queue goes to the other.
  ASSERT_TRUE(user.Pause("one").ok());
  EXPECT_EQ(installation_.Sql("select name from run_queue join runs using (run_id)"), "two");
  ASSERT_TRUE(user.Resume("one").ok());
  EXPECT_EQ(user.Get("one")->wait().reason(), v1::Wait::HOLDING_LIMIT);
  ASSERT_TRUE(user.Cancel("two").ok());
  EXPECT_EQ(installation_.Sql("select name from run_queue join runs using (run_id)"), "one");
}

TEST_F(PauseTest, ItIsForTheOwnerAndTheWorkspacesAdmin) {
  StartRun();
  TestClient bob(server_->listen(), installation_.Token("bob@example.com", "user"));
  TestClient reader(server_->listen(), installation_.Token("ann@example.com", "reader"));
  TestClient admin(server_->listen(), installation_.Token("eve@example.com", "admin"));
  EXPECT_EQ(ErrorReason(bob.Pause(name_).status()), "RUN_NOT_FOUND");
  EXPECT_EQ(ErrorReason(bob.Resume(name_).status()), "RUN_NOT_FOUND");
  EXPECT_EQ(reader.Pause(name_).status().code(), absl::StatusCode::kPermissionDenied);
  EXPECT_TRUE(admin.Pause(name_).ok());
  v1::PauseRunRequest request;
  request.set_name("NOT A NAME");
  request.set_reason(std::string(257, 'x'));
  v1::Run run;
  const absl::Status bad = FromGrpc(user_.runs().PauseRun(user_.Context().get(), request, &run));
  EXPECT_EQ(bad.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Violations(bad).size(), 2U);
}

// What one attempt cannot go on from, the next is not given.
TEST_F(PauseTest, ADamagedCheckpointIsPassedOver) {
  v1::AttemptRef attempt = StartRun();
  ASSERT_TRUE(
      worker_.Report(attempt, 1, {EventOfType(Type::STARTED), Checkpoint(3), Checkpoint(6)}).ok());
  ASSERT_TRUE(worker_.Complete(attempt, Exit(75), 3).ok());
  worker_.held.clear();
  const std::string folder = lease_.checkpoints_path();
  for (const char* from : {"/ep1-ba6", "/ep1-ba3"}) {
    attempt = LeaseAgain();
    EXPECT_EQ(lease_.resume_from(), folder + from);
    v1::AttemptEnd end;
    end.mutable_failure()->set_code("CHECKPOINT_DAMAGED");
    end.mutable_failure()->set_message("It does not match its manifest.");
    end.mutable_failure()->set_attribution(v1::Failure::INFRASTRUCTURE);
    ASSERT_TRUE(worker_.Complete(attempt, end, 0).ok());
    worker_.held.clear();
    const auto events = user_.Events(name_);
    const v1::RunEvent& last = events->events(events->events_size() - 1);
    EXPECT_EQ(last.type(), Type::REQUEUED);
    EXPECT_EQ(last.failure().code(), "CHECKPOINT_DAMAGED");
  }
  EXPECT_EQ(Run().latest_checkpoint(), "");
  LeaseAgain();
  EXPECT_EQ(lease_.resume_from(), "");
  EXPECT_EQ(Run().failure().code(), "");
}

TEST_F(PauseTest, WhatEachAttemptHeldAndHowItEndedIsListed) {
  const v1::AttemptRef first = PauseAtCheckpoint();
  installation_.Sql(
      "update run_attempts set create_time = end_time - interval '2 hours', "
      "start_time = end_time - interval '119 minutes'");
  ASSERT_TRUE(user_.Resume(name_).ok());
  const v1::AttemptRef second = LeaseAgain();
  v1::ListAttemptsRequest request;
  request.set_name(name_);
  v1::ListAttemptsResponse response;
  ASSERT_TRUE(user_.runs().ListAttempts(user_.Context().get(), request, &response).ok());
  ASSERT_EQ(response.attempts_size(), 2);
  const v1::Attempt& now = response.attempts(0);
  EXPECT_EQ(now.attempt(), second.epoch());
  EXPECT_EQ(now.worker(), "w1");
  EXPECT_FALSE(now.has_end_time());
  EXPECT_EQ(now.end_reason(), "");
  EXPECT_EQ(now.compute().cpus(), 1);
  const v1::Attempt& before = response.attempts(1);
  EXPECT_EQ(before.attempt(), first.epoch());
  EXPECT_EQ(FromProtoDuration(before.held_duration()), absl::Hours(2));
  EXPECT_TRUE(before.has_start_time());
  EXPECT_EQ(before.checkpoint(), "ep1-ba3");
  EXPECT_NE(before.end_reason().find("Run paused."), std::string::npos);
  // Another's.
  TestClient bob(server_->listen(), installation_.Token("bob@example.com", "user"));
  EXPECT_EQ(bob.runs().ListAttempts(bob.Context().get(), request, &response).error_code(),
            grpc::StatusCode::NOT_FOUND);
}

// Pages where else the run can be seen are the newest that its trainer has told.
TEST_F(PauseTest, LinksOfATrainerAreOnTheRun) {
  const v1::AttemptRef attempt = StartRun();
  v1::RunEvent linked = EventOfType(Type::LINKED);
  (*linked.mutable_links()->mutable_pages())["mlflow"] = "https://mlflow.example.com/#/runs/1";
  ASSERT_TRUE(worker_.Report(attempt, 1, {EventOfType(Type::STARTED), linked}).ok());
  EXPECT_EQ(Run().links().at("mlflow"), "https://mlflow.example.com/#/runs/1");
  ASSERT_TRUE(worker_.Report(attempt, 3, {EventOfType(Type::MODEL_INITIALIZED)}).ok());
  EXPECT_EQ(Run().links().size(), 1U);
  (*linked.mutable_links()->mutable_pages())["mlflow"] = "javascript:alert(1)";
  EXPECT_EQ(FromProto(worker_.Report(attempt, 4, {linked})->results(0).status()).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Run().links().at("mlflow"), "https://mlflow.example.com/#/runs/1");
}

}  // namespace
}  // namespace finetuned
