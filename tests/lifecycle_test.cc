// The way of a run through the real daemon and Postgres, with a worker that the test plays by hand.

#include <thread>

#include <gtest/gtest.h>

#include "artifacts/artifact_store.h"
#include "base/grpc_status.h"
#include "base/status.h"
#include "base/time.h"
#include "tests/support/test_daemon.h"

namespace finetuned {
namespace {

class LifecycleTest : public ::testing::Test {
 protected:
  LifecycleTest()
      : server_(installation_.StartDaemon()),
        user_(server_->listen(), installation_.Token("ann@example.com", "user")),
        worker_(installation_, *server_, "w1") {}

  // Creates a run and has the worker lease it.
  v1::AttemptRef StartRun() {
    const auto run = user_.Create(ValidRequest(installation_));
    EXPECT_TRUE(run.ok()) << run.status();
    name_ = run->name();
    EXPECT_TRUE(worker_.Open().ok());
    return LeaseAgain();
  }

  v1::AttemptRef LeaseAgain() {
    const auto acquired = worker_.Acquire();
    EXPECT_TRUE(acquired.ok()) << acquired.status();
    EXPECT_EQ(acquired->leases_size(), 1);
    if (!acquired.ok() || acquired->leases_size() == 0) return {};
    worker_.held = {acquired->leases(0).attempt()};
    lease_ = acquired->leases(0);
    return lease_.attempt();
  }

  v1::Run Run() { return *user_.Get(name_); }

  std::vector<v1::RunEvent::Type> EventTypes() {
    std::vector<v1::RunEvent::Type> types;
    int64_t seq = 0;
    const auto events = user_.Events(name_);
    for (const auto& event : events->events()) {
      EXPECT_EQ(event.seq(), ++seq);
      types.push_back(event.type());
    }
    EXPECT_EQ(events->last_seq(), seq);
    return types;
  }

  static v1::AttemptEnd Exit(int code, bool finished = false) {
    v1::AttemptEnd end;
    end.set_exit_code(code);
    end.set_finished(finished);
    return end;
  }

  TestInstallation installation_;
  std::unique_ptr<Server> server_;
  TestClient user_;
  TestWorker worker_;
  std::string name_;
  v1::Lease lease_;
};

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
  updated.mutable_progress()->mutable_remaining_duration()->set_seconds(300);
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

TEST_F(LifecycleTest, ACancelReachesTheWorkerAtOnceAndWinsOverAFinishedTraining) {
  const v1::AttemptRef attempt = StartRun();
  absl::StatusOr<v1::RenewLeasesResponse> renewed;
  std::thread renewal([&] { renewed = worker_.Renew(attempt, 10); });
  const auto canceled = user_.Cancel(name_);
  ASSERT_TRUE(canceled.ok()) << canceled.status();
  EXPECT_EQ(canceled->results(0).outcome(), v1::CancelRunsResponse::Result::STOPPING);
  renewal.join();
  ASSERT_TRUE(renewed.ok()) << renewed.status();
  EXPECT_EQ(renewed->results(0).desired_stop(), v1::CANCEL);
  EXPECT_EQ(Run().state(), v1::Run::TERMINATING);
  ASSERT_TRUE(worker_.Complete(attempt, Exit(0, true), 0).ok());
  EXPECT_EQ(Run().state(), v1::Run::STOPPED);
  EXPECT_EQ(EventTypes(),
            (std::vector<v1::RunEvent::Type>{v1::RunEvent::CREATED, v1::RunEvent::STOP_REQUESTED,
                                             v1::RunEvent::CANCELED}));
}

TEST_F(LifecycleTest, ACancelThroughAnotherDaemonReachesTheHeldRenewalToo) {
  const v1::AttemptRef attempt = StartRun();
  const auto other = installation_.StartDaemon();
  TestClient user(other->listen(), installation_.Token("ann@example.com", "user"));
  absl::StatusOr<v1::RenewLeasesResponse> renewed;
  std::thread renewal([&] { renewed = worker_.Renew(attempt, 10); });
  ASSERT_TRUE(user.Cancel(name_).ok());
  renewal.join();
  ASSERT_TRUE(renewed.ok());
  EXPECT_EQ(renewed->results(0).desired_stop(), v1::CANCEL);
}

// A worker's heartbeat is one statement when it begins, one when it is answered, and one for what
// may have changed before anybody looked: not one for each look of the daemon.
TEST_F(LifecycleTest, AHeldRenewalCostsThreeStatementsHoweverLongItIsHeld) {
  const v1::AttemptRef attempt = StartRun();
  installation_.Sql("create table renewals (n int)");
  installation_.Sql(
      "create function count_renewal() returns trigger language plpgsql security definer as "
      "$$ begin insert into public.renewals values (1); return new; end $$");
  installation_.Sql(
      "create trigger count_renewal after update on leases "
      "for each row execute function count_renewal()");
  ASSERT_TRUE(worker_.Renew(attempt, 4).ok());
  EXPECT_LE(std::stoi(installation_.Sql("select count(*) from renewals")), 3);
}

// A worker that lost an attempt and leased its run again lists both until it has heard of it.
TEST_F(LifecycleTest, ARenewalMayListTwoAttemptsOfOneRun) {
  const v1::AttemptRef attempt = StartRun();
  v1::RenewLeasesRequest request;
  request.set_session(worker_.session());
  *request.add_items()->mutable_attempt() = attempt;
  *request.add_items()->mutable_attempt() = attempt;
  request.mutable_items(1)->mutable_attempt()->set_epoch(attempt.epoch() + 1);
  for (int i = 0; i < 2; ++i) {
    v1::RenewLeasesResponse response;
    TestClient& client = worker_.client();
    const grpc::Status status =
        client.workers().RenewLeases(client.Context().get(), request, &response);
    ASSERT_TRUE(status.ok()) << status.error_message();
    EXPECT_TRUE(FromProto(response.results(0).status()).ok());
    EXPECT_EQ(ErrorReason(FromProto(response.results(1).status())), "LEASE_LOST");
  }
}

TEST_F(LifecycleTest, AHeldRenewalIsAnsweredWhenItsDaemonStops) {
  const v1::AttemptRef attempt = StartRun();
  const std::string before = installation_.Sql("select expire_time from leases");
  absl::StatusOr<v1::RenewLeasesResponse> renewed;
  std::thread renewal([&] { renewed = worker_.Renew(attempt, 10); });
  while (installation_.Sql("select expire_time from leases") == before) {
  }
  server_->Stop();
  renewal.join();
  ASSERT_TRUE(renewed.ok()) << renewed.status();
  EXPECT_TRUE(FromProto(renewed->results(0).status()).ok());
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

TEST_F(LifecycleTest, AnExpiredLeaseIsTakenAwayExactlyOnceByAnyNumberOfDaemons) {
  const auto second = installation_.StartDaemon();
  const auto third = installation_.StartDaemon();
  StartRun();
  installation_.Sql("update leases set expire_time = clock_timestamp() - interval '1 second'");
  // A subscriber sees it happen; nothing is polled.
  v1::WatchEventsRequest request;
  request.set_name(name_);
  const auto context = user_.Context();
  auto stream = user_.runs().WatchEvents(context.get(), request);
  v1::WatchEventsResponse message;
  bool requeued = false;
  while (!requeued && stream->Read(&message)) {
    for (const auto& event : message.events()) requeued |= event.type() == v1::RunEvent::REQUEUED;
  }
  EXPECT_TRUE(requeued);
  context->TryCancel();
  EXPECT_EQ(installation_.Sql("select infra_losses from runs"), "1");
  EXPECT_EQ(EventTypes(),
            (std::vector<v1::RunEvent::Type>{v1::RunEvent::CREATED, v1::RunEvent::REQUEUED}));
}

TEST_F(LifecycleTest, ARenewedLeaseDoesNotExpire) {
  const v1::AttemptRef attempt = StartRun();
  installation_.Sql("update leases set expire_time = clock_timestamp() + interval '1 second'");
  ASSERT_TRUE(worker_.Renew(attempt, 0).ok());
  EXPECT_EQ(installation_.Sql(
                "select expire_time > clock_timestamp() + interval '14 minutes' from leases"),
            "t");
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

TEST_F(LifecycleTest, AStreamHasEveryEventOnceAndEndsAfterTheLast) {
  const v1::AttemptRef attempt = StartRun();
  v1::WatchEventsRequest request;
  request.set_name(name_);
  const auto context = user_.Context();
  auto stream = user_.runs().WatchEvents(context.get(), request);
  constexpr int kUpdates = 1200;
  std::thread reporter([&] {
    v1::RunEvent updated = EventOfType(v1::RunEvent::TRAIN_UPDATED);
    updated.mutable_progress()->set_batch(1);
    for (int i = 0; i < kUpdates; i += 40) {
      EXPECT_TRUE(worker_.Report(attempt, i + 1, std::vector<v1::RunEvent>(40, updated)).ok());
    }
    EXPECT_TRUE(
        worker_.Report(attempt, kUpdates + 1, {EventOfType(v1::RunEvent::TRAIN_FINISHED)}).ok());
    EXPECT_TRUE(worker_.Complete(attempt, Exit(0, true), kUpdates + 1).ok());
  });
  int64_t seq = 0;
  v1::WatchEventsResponse message, last;
  while (stream->Read(&message)) {
    for (const auto& event : message.events()) EXPECT_EQ(event.seq(), ++seq);
    EXPECT_EQ(message.bookmark_seq(), seq);
    last = message;
  }
  reporter.join();
  const grpc::Status status = stream->Finish();
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(seq, kUpdates + 3);
  EXPECT_EQ(last.run().state(), v1::Run::COMPLETED);
  // From a number on, the rest and nothing else.
  request.set_after_seq(seq - 1);
  const auto again = user_.Context();
  auto rest = user_.runs().WatchEvents(again.get(), request);
  ASSERT_TRUE(rest->Read(&message));
  ASSERT_EQ(message.events_size(), 1);
  EXPECT_EQ(message.events(0).type(), v1::RunEvent::COMPLETED);
  EXPECT_FALSE(rest->Read(&message));
  EXPECT_TRUE(rest->Finish().ok());
}

TEST_F(LifecycleTest, StoppingTheDaemonEndsStreamsResumablyAndWithoutDelay) {
  StartRun();
  v1::WatchEventsRequest request;
  request.set_name(name_);
  const auto context = user_.Context();
  auto stream = user_.runs().WatchEvents(context.get(), request);
  v1::WatchEventsResponse message;
  ASSERT_TRUE(stream->Read(&message));
  server_->Stop();
  while (stream->Read(&message)) {
  }
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST_F(LifecycleTest, ALogIsReadInPieces) {
  StartRun();
  const ArtifactStore artifacts(installation_.artifact_root());
  ASSERT_TRUE(artifacts.Put(lease_.artifact_path() + "/attempts/1/stderr.log", "one\ntwo\n").ok());
  v1::ReadRunLogRequest request;
  request.set_name(name_);
  request.set_max_bytes(4);
  v1::ReadRunLogResponse response;
  ASSERT_TRUE(user_.runs().ReadRunLog(user_.Context().get(), request, &response).ok());
  EXPECT_EQ(response.data(), "one\n");
  request.set_offset(response.next_offset());
  ASSERT_TRUE(user_.runs().ReadRunLog(user_.Context().get(), request, &response).ok());
  EXPECT_EQ(response.data(), "two\n");
  EXPECT_FALSE(response.complete());
  request.set_attempt(7);
  EXPECT_EQ(user_.runs().ReadRunLog(user_.Context().get(), request, &response).error_code(),
            grpc::StatusCode::NOT_FOUND);
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
