// The way of a run through the real daemon and Postgres, with a worker that the test plays by hand.

#include <thread>

#include "db/admission.h"
#include "tests/lifecycle.h"

namespace finetuned {
namespace {

TEST_F(LifecycleTest, ARunGoesFromCreatedToCompleted) {
  const v1::AttemptRef attempt = StartRun();
  EXPECT_EQ(Run().state(), v1::Run::STARTING);
  EXPECT_EQ(lease_.run(), name_);
  EXPECT_EQ(lease_.spec().training_duration(), "1ep");
  EXPECT_EQ(lease_.checkpoints_path().rfind(lease_.artifact_path() + "/artifacts/", 0), 0u);

  v1::RunEvent initialized = EventOfType(v1::RunEvent::MODEL_INITIALIZED);
  initialized.set_message("finetuned/tiny-llama");
  v1::RunEvent updated = EventOfType(v1::RunEvent::TRAIN_UPDATED);
  updated.mutable_progress()->set_epoch(1);
  updated.mutable_progress()->set_epochs(1);
  updated.mutable_progress()->set_batch(50);
  updated.mutable_progress()->set_batches(56);
  updated.mutable_progress()->set_step(50);
  updated.mutable_progress()->set_total_steps(56);
  updated.mutable_progress()->set_trained_steps(50);
  updated.mutable_progress()->mutable_trained_duration()->set_seconds(2500);
  updated.mutable_progress()->set_train_loss(1.71);
  const auto reported =
      worker_.Report(attempt, 1,
                     {EventOfType(v1::RunEvent::STARTED), EventOfType(v1::RunEvent::DATA_VALIDATED),
                      initialized, updated});
  ASSERT_TRUE(reported.ok()) << reported.status();
  EXPECT_EQ(reported->results(0).acked_report(), 4);
  v1::Run run = Run();
  EXPECT_EQ(run.state(), v1::Run::RUNNING);
  EXPECT_EQ(run.progress().batch(), 50);
  EXPECT_TRUE(run.has_start_time());
  EXPECT_EQ(run.progress().remaining_duration().seconds(), 300);
  EXPECT_TRUE(run.has_estimated_end_time());
  EXPECT_EQ(run.worker(), "w1");

  v1::RunEvent saved = EventOfType(v1::RunEvent::CHECKPOINT_SAVED);
  saved.mutable_checkpoint()->set_name("ep1-ba56");
  saved.mutable_checkpoint()->set_path(lease_.checkpoints_path() + "/ep1-ba56");
  saved.mutable_checkpoint()->set_step(56);
  ASSERT_TRUE(worker_.Report(attempt, 5, {EventOfType(v1::RunEvent::TRAIN_FINISHED), saved}).ok());
  run = Run();
  EXPECT_EQ(run.state(), v1::Run::TERMINATING);
  EXPECT_FALSE(run.has_estimated_end_time());
  EXPECT_EQ(run.latest_checkpoint(), saved.checkpoint().path());

  const auto completed = worker_.Complete(attempt, Exit(0, true), 6);
  ASSERT_TRUE(completed.ok()) << completed.status();
  EXPECT_EQ(completed->results(0).run_state(), v1::Run::COMPLETED);
  run = Run();
  EXPECT_EQ(run.state(), v1::Run::COMPLETED);
  EXPECT_TRUE(run.has_end_time());
  EXPECT_EQ(run.worker(), "");
  EXPECT_EQ(installation_.Sql("select active from owners where email = 'ann@example.com'"), "0");
  EXPECT_EQ(installation_.Sql("select count(*) from leases"), "0");

  const auto events = user_.Events(name_);
  std::vector<std::string> messages;
  for (const auto& event : events->events()) messages.push_back(event.message());
  EXPECT_EQ(messages,
            (std::vector<std::string>{
                "Run created.", "Run started.", "Training data validated.",
                "Model data downloaded and initialized for base model `finetuned/tiny-llama`.",
                "[epoch=1/1][batch=50/56][ETA=5min] Train loss: 1.71", "Training completed.",
                "Checkpoint saved: " + saved.checkpoint().path(),
                "Run completed. Final weights uploaded."}));
}

TEST_F(LifecycleTest, RepeatedReportsAndCompletionsAreStoredOnce) {
  const v1::AttemptRef attempt = StartRun();
  const std::vector<v1::RunEvent> events = {EventOfType(v1::RunEvent::STARTED),
                                            EventOfType(v1::RunEvent::DATA_VALIDATED)};
  for (int i = 0; i < 3; ++i) {
    const auto reported = worker_.Report(attempt, 1, events);
    ASSERT_TRUE(reported.ok());
    EXPECT_EQ(reported->results(0).acked_report(), 2);
  }
  ASSERT_TRUE(worker_.Report(attempt, 3, {EventOfType(v1::RunEvent::TRAIN_FINISHED)}).ok());
  for (int i = 0; i < 3; ++i) {
    const auto completed = worker_.Complete(attempt, Exit(0, true), 3);
    ASSERT_TRUE(completed.ok());
    EXPECT_EQ(completed->results(0).status().code(), 0);
    EXPECT_EQ(completed->results(0).run_state(), v1::Run::COMPLETED);
  }
  EXPECT_EQ(EventTypes(),
            (std::vector<v1::RunEvent::Type>{
                v1::RunEvent::CREATED, v1::RunEvent::STARTED, v1::RunEvent::DATA_VALIDATED,
                v1::RunEvent::TRAIN_FINISHED, v1::RunEvent::COMPLETED}));
}

TEST_F(LifecycleTest, AnAttemptDoesNotEndBeforeItsReportsAreThere) {
  const v1::AttemptRef attempt = StartRun();
  const auto completed = worker_.Complete(attempt, Exit(0), 1);
  ASSERT_TRUE(completed.ok());
  EXPECT_EQ(ErrorReason(FromProto(completed->results(0).status())), "REPORTS_MISSING");
  EXPECT_EQ(Run().state(), v1::Run::STARTING);
}

TEST_F(LifecycleTest, ALostTrainerIsQueuedAgainAndResumesFromTheNewestCheckpoint) {
  const v1::AttemptRef first = StartRun();
  v1::RunEvent saved = EventOfType(v1::RunEvent::CHECKPOINT_SAVED);
  for (const int batch : {10, 20}) {
    saved.mutable_checkpoint()->set_name("ep0-ba" + std::to_string(batch));
    saved.mutable_checkpoint()->set_path(lease_.checkpoints_path() + "/ep0-ba" +
                                         std::to_string(batch));
    saved.mutable_checkpoint()->set_step(batch);
    ASSERT_TRUE(worker_.Report(first, batch / 10, {saved}).ok());
  }
  v1::AttemptEnd killed;
  killed.set_signal(9);
  const auto completed = worker_.Complete(first, killed, 2);
  ASSERT_TRUE(completed.ok());
  EXPECT_EQ(completed->results(0).run_state(), v1::Run::PENDING);
  worker_.held.clear();
  const v1::AttemptRef second = LeaseAgain();
  EXPECT_EQ(second.run_id(), first.run_id());
  EXPECT_EQ(second.epoch(), 2);
  EXPECT_EQ(lease_.resume_from(), saved.checkpoint().path());
  // The first attempt may write nothing any more.
  const auto stale = worker_.Report(first, 3, {EventOfType(v1::RunEvent::TRAIN_FINISHED)});
  EXPECT_EQ(ErrorReason(FromProto(stale->results(0).status())), "LEASE_LOST");
  EXPECT_EQ(EventTypes().back(), v1::RunEvent::REQUEUED);
  EXPECT_EQ(installation_.Sql("select active from owners where email = 'ann@example.com'"), "1");
}

// An end that was stored before is answered again; that of another run's attempt of the same number
// is not taken for it.
TEST_F(LifecycleTest, TheEndOfAnAttemptIsThatOfItsRun) {
  const v1::AttemptRef first = StartRun();
  for (int time = 0; time < 2; ++time) {
    const auto ended = worker_.Complete(first, Exit(1), 0);
    ASSERT_TRUE(ended.ok());
    EXPECT_EQ(ended->results(0).status().code(), 0) << ended->results(0).status().message();
    EXPECT_EQ(ended->results(0).run_state(), v1::Run::FAILED);
  }
  worker_.held.clear();
  ASSERT_TRUE(user_.Create(ValidRequest(installation_)).ok());
  const v1::AttemptRef second = LeaseAgain();
  ASSERT_EQ(second.epoch(), first.epoch());
  TestWorker other(installation_, *server_, "w2");
  ASSERT_TRUE(other.Open().ok());
  const auto foreign = other.Complete(second, Exit(0, true), 0);
  ASSERT_TRUE(foreign.ok());
  EXPECT_EQ(ErrorReason(FromProto(foreign->results(0).status())), "LEASE_LOST");
}

TEST_F(LifecycleTest, AUserErrorEndsTheRunWithItsReason) {
  const v1::AttemptRef attempt = StartRun();
  v1::AttemptEnd end = Exit(65);
  end.mutable_failure()->set_code("UNKNOWN_EXAMPLE_TYPE");
  end.mutable_failure()->set_message("Found keys {'a'} in dataset. train.jsonl, line 3.");
  end.mutable_failure()->set_attribution(v1::Failure::USER);
  ASSERT_TRUE(worker_.Complete(attempt, end, 0).ok());
  const v1::Run run = Run();
  EXPECT_EQ(run.state(), v1::Run::FAILED);
  EXPECT_EQ(run.failure().code(), "UNKNOWN_EXAMPLE_TYPE");
  EXPECT_EQ(run.failure().exit_code(), 65);
  EXPECT_EQ(user_.Events(name_)->events().rbegin()->message(),
            "Found keys {'a'} in dataset. train.jsonl, line 3.");
}

TEST_F(LifecycleTest, ALeaseWhoseAnswerWasLostIsGivenAgain) {
  const v1::AttemptRef attempt = StartRun();
  worker_.held.clear();  // As if the answer had never come.
  const v1::AttemptRef again = LeaseAgain();
  EXPECT_EQ(again.run_id(), attempt.run_id());
  EXPECT_EQ(again.epoch(), attempt.epoch());
  EXPECT_EQ(installation_.Sql("select count(*) from run_attempts"), "1");
}

TEST_F(LifecycleTest, ANewSessionKeepsWhatItListsAndEndsTheOldOne) {
  const v1::AttemptRef attempt = StartRun();
  TestWorker successor(installation_, *server_, "w1");
  const auto opened = successor.Open({attempt});
  ASSERT_TRUE(opened.ok()) << opened.status();
  ASSERT_EQ(opened->keep_size(), 1);
  EXPECT_EQ(opened->keep(0).attempt().epoch(), attempt.epoch());
  EXPECT_EQ(opened->kill_size(), 0);
  EXPECT_EQ(ErrorReason(worker_.Acquire().status()), "SESSION_SUPERSEDED");
  EXPECT_EQ(ErrorReason(worker_.Renew(attempt, 0).status()), "SESSION_SUPERSEDED");
  EXPECT_EQ(
      ErrorReason(FromProto(
          worker_.Report(attempt, 1, {EventOfType(v1::RunEvent::STARTED)})->results(0).status())),
      "LEASE_LOST");
  EXPECT_EQ(
      successor.Report(attempt, 1, {EventOfType(v1::RunEvent::STARTED)})->results(0).acked_report(),
      1);
}

TEST_F(LifecycleTest, ANewSessionThatDoesNotListAnAttemptHasLostIt) {
  StartRun();
  TestWorker successor(installation_, *server_, "w1");
  ASSERT_TRUE(successor.Open().ok());
  EXPECT_EQ(Run().state(), v1::Run::PENDING);
  EXPECT_EQ(EventTypes().back(), v1::RunEvent::REQUEUED);
}

TEST_F(LifecycleTest, AnAttemptThatIsNotCurrentIsToBeKilled) {
  v1::AttemptRef stranger;
  stranger.set_run_id(4711);
  stranger.set_epoch(1);
  const auto opened = worker_.Open({stranger});
  ASSERT_TRUE(opened.ok());
  ASSERT_EQ(opened->kill_size(), 1);
  EXPECT_EQ(opened->kill(0).run_id(), 4711);
}

TEST_F(LifecycleTest, ARunOverItsTimeIsStoppedAndFails) {
  v1::CreateRunRequest request = ValidRequest(installation_);
  request.mutable_run()->mutable_spec()->mutable_scheduling()->mutable_max_run_time()->set_seconds(
      60);
  name_ = user_.Create(request)->name();
  ASSERT_TRUE(worker_.Open().ok());
  const v1::AttemptRef attempt = LeaseAgain();
  ASSERT_TRUE(worker_.Report(attempt, 1, {EventOfType(v1::RunEvent::STARTED)}).ok());
  installation_.Sql("update runs set start_time = start_time - interval '61 seconds'");
  const auto renewed = worker_.Renew(attempt, 10);
  ASSERT_TRUE(renewed.ok());
  EXPECT_EQ(renewed->results(0).desired_stop(), v1::DEADLINE);
  ASSERT_TRUE(worker_.Complete(attempt, Exit(75), 1).ok());
  EXPECT_EQ(Run().failure().code(), "MAX_RUN_TIME");
}

TEST_F(LifecycleTest, AWorkerWithAnotherArtifactRootIsRefused) {
  v1::OpenSessionRequest request;
  request.set_worker("w2");
  request.set_boot_id("boot");
  request.mutable_capacity()->set_cpus(1);
  request.set_nonce_name("absent");
  request.set_nonce("x");
  v1::OpenSessionResponse response;
  const grpc::Status status =
      worker_.client().workers().OpenSession(worker_.client().Context().get(), request, &response);
  EXPECT_EQ(ErrorReason(FromGrpc(status)), "ARTIFACT_ROOT_MISMATCH");
}

TEST_F(LifecycleTest, TheQueueGoesByPriorityAndThenByArrivalAndFitsTheWorker) {
  TestClient admin(server_->listen(), installation_.Token("ann@example.com", "admin"));
  const auto create = [&](const char* name, v1::Scheduling::Priority priority, int cpus) {
    v1::CreateRunRequest request = ValidRequest(installation_);
    request.set_run_id(name);
    request.mutable_run()->mutable_spec()->mutable_scheduling()->set_priority(priority);
    request.mutable_run()->mutable_spec()->mutable_compute()->set_cpus(cpus);
    ASSERT_TRUE(admin.Create(request).ok());
  };
  create("huge", v1::Scheduling::HIGH, 64);
  create("low", v1::Scheduling::LOW, 1);
  create("first", v1::Scheduling::AUTO, 1);
  create("second", v1::Scheduling::AUTO, 2);
  create("urgent", v1::Scheduling::HIGH, 1);
  ASSERT_TRUE(worker_.Open().ok());
  const auto acquired = worker_.Acquire(5, 10);
  ASSERT_TRUE(acquired.ok());
  std::vector<std::string> runs;
  for (const auto& lease : acquired->leases())
    runs.push_back(lease.run().substr(lease.run().rfind('/') + 1));
  std::sort(runs.begin(), runs.end());
  // Four cores: one for the urgent run, one for the first, two for the second; nothing is left for
  // the low one.
  EXPECT_EQ(runs, (std::vector<std::string>{"first", "second", "urgent"}));
  const v1::Run waiting = *admin.Get("huge");
  EXPECT_EQ(waiting.wait().reason(), v1::Wait::NO_SUCH_CAPACITY);
  EXPECT_EQ(waiting.wait().position(), 1);
  EXPECT_NE(waiting.state_reason().find("64 CPU cores"), std::string::npos);
  EXPECT_EQ(admin.Get("low")->wait().reason(), v1::Wait::WORKERS_BUSY);
}

TEST_F(LifecycleTest, ARunOverItsOwnersHoldingLimitWaitsOutsideTheQueueUntilASlotFrees) {
  const auto limited = installation_.StartDaemon(
      [](config::v1::DaemonConfig* config) { config->set_holding_runs_limit(1); });
  TestClient user(limited->listen(), installation_.Token("bob@example.com", "user"));
  const std::string first = user.Create(ValidRequest(installation_))->name();
  const std::string second = user.Create(ValidRequest(installation_))->name();
  EXPECT_EQ(installation_.Sql("select count(*) from run_queue"), "1");
  EXPECT_EQ(user.Get(first)->wait().reason(), v1::Wait::NO_WORKER);
  EXPECT_EQ(user.Get(second)->wait().reason(), v1::Wait::HOLDING_LIMIT);
  TestWorker worker(installation_, *limited, "w2");
  ASSERT_TRUE(worker.Open().ok());
  const auto acquired = worker.Acquire(5, 10);
  ASSERT_EQ(acquired->leases_size(), 1);
  EXPECT_EQ(acquired->leases(0).run(), first);
  // The first run holds the slot while it is held by a worker, and frees it with its end.
  EXPECT_EQ(installation_.Sql("select count(*) from run_queue"), "0");
  ASSERT_TRUE(worker.Complete(acquired->leases(0).attempt(), Exit(65), 0).ok());
  const auto next = worker.Acquire(5, 10);
  ASSERT_EQ(next->leases_size(), 1);
  EXPECT_EQ(next->leases(0).run(), second);
  EXPECT_EQ(installation_.Sql("select active from owners where email = 'bob@example.com'"), "1");
}

TEST_F(LifecycleTest, ALimitThatIsTakenAwayLeavesNobodyWaitingForIt) {
  installation_.Sql(
      "insert into owners (workspace_id, email, holding_limit) "
      "select workspace_id, 'dora@example.com', 1 from workspaces");
  TestClient dora(server_->listen(), installation_.Token("dora@example.com", "user"));
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(dora.Create(ValidRequest(installation_)).ok());
  EXPECT_EQ(installation_.Sql("select count(*) from run_queue"), "1");
  installation_.Sql("update owners set holding_limit = null");
  Pool pool({installation_.database().daemon_url});
  AdmissionStore admission(&pool, QuotaLimits());
  const auto released = admission.ReleaseStrandedRuns();
  ASSERT_TRUE(released.ok()) << released.status();
  EXPECT_EQ(*released, 2);
  EXPECT_EQ(*admission.ReleaseStrandedRuns(), 0);
  EXPECT_EQ(installation_.Sql("select count(*) from run_queue"), "3");
}

TEST_F(LifecycleTest, PostgresMayBeKilledAndComesBackWithoutARestartOfTheDaemon) {
  const v1::AttemptRef attempt = StartRun();
  TestPostgres::Get().KillAndRestart();
  // The first calls may meet the broken connections; each is thrown away once.
  absl::StatusOr<v1::ReportEventsResponse> reported;
  for (int i = 0; i < 20; ++i) {
    reported = worker_.Report(attempt, 1, {EventOfType(v1::RunEvent::STARTED)});
    if (reported.ok()) break;
    EXPECT_EQ(reported.status().code(), absl::StatusCode::kUnavailable) << reported.status();
    EXPECT_GT(RetryDelay(reported.status()), absl::ZeroDuration());
  }
  ASSERT_TRUE(reported.ok()) << reported.status();
  EXPECT_EQ(installation_.Sql("select count(*) from leases"), "1");
}

}  // namespace
}  // namespace finetuned
