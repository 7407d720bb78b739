// What follows the end of an attempt, over the real protocol: delays, runs that take workers down,
// workers in quarantine, and runs that may wait only so long.

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "tests/lifecycle.h"

namespace finetuned {
namespace {

using Type = v1::RunEvent;

class RetriesTest : public LifecycleTest {
 protected:
  RetriesTest() : admin_(server_->listen(), installation_.Token("root@example.com", "admin")) {}

  std::string CreateRun(const std::string& name) {
    v1::CreateRunRequest request = ValidRequest(installation_);
    request.set_run_id(name);
    const auto run = user_.Create(request);
    EXPECT_TRUE(run.ok()) << run.status();
    return name;
  }

  // The run that this worker leases next, whatever delays there are; empty where it gets none.
  static v1::AttemptRef Lease(TestWorker& worker, std::vector<v1::AttemptRef> held = {},
                              int seconds = 5) {
    worker.held = std::move(held);
    const auto acquired = worker.Acquire(seconds);
    EXPECT_TRUE(acquired.ok()) << acquired.status();
    return acquired.ok() && acquired->leases_size() == 1 ? acquired->leases(0).attempt()
                                                         : v1::AttemptRef();
  }

  static bool IsNone(const v1::AttemptRef& attempt) { return attempt.run_id() == 0; }

  // Its trainer was killed by nobody knows whom.
  void LoseTrainer(TestWorker& worker, const v1::AttemptRef& attempt) {
    v1::AttemptEnd end;
    end.set_signal(9);
    const auto completed = worker.Complete(attempt, end, 0);
    ASSERT_TRUE(completed.ok()) << completed.status();
  }

  void EndDelays() {
    installation_.Sql(
        "update runs set retry_time = clock_timestamp() where retry_time is not null");
  }

  v1::Worker GetWorker(const std::string& name) {
    v1::GetWorkerRequest request;
    request.set_name(name);
    v1::Worker worker;
    EXPECT_TRUE(user_.runs().GetWorker(user_.Context().get(), request, &worker).ok());
    return worker;
  }

  void TrustAgain(const std::string& name) {
    v1::DrainWorkerRequest request;
    request.set_name(name);
    request.set_undo(true);
    v1::Worker worker;
    const grpc::Status status = admin_.runs().DrainWorker(admin_.Context().get(), request, &worker);
    ASSERT_TRUE(status.ok()) << status.error_message();
    EXPECT_EQ(worker.state(), v1::Worker::ONLINE);
    EXPECT_EQ(worker.loss_count(), 0);
  }

  v1::RunEvent Checkpoint(const v1::Lease& lease, int64_t step) {
    v1::RunEvent event = EventOfType(Type::CHECKPOINT_SAVED);
    v1::Checkpoint& checkpoint = *event.mutable_checkpoint();
    checkpoint.set_name(absl::StrCat("ep1-ba", step));
    checkpoint.set_path(absl::StrCat(lease.checkpoints_path(), "/", checkpoint.name()));
    checkpoint.set_step(step);
    return event;
  }

  TestClient admin_;
};

TEST_F(RetriesTest, AfterTheSecondLossInARowTheNextAttemptWaits) {
  LoseTrainer(worker_, StartRun());
  EXPECT_EQ(Run().wait().reason(), v1::Wait::ABOUT_TO_START);
  LoseTrainer(worker_, Lease(worker_));

  const v1::Run run = Run();
  EXPECT_EQ(run.state(), v1::Run::PENDING);
  EXPECT_EQ(run.wait().reason(), v1::Wait::RETRY_DELAY);
  EXPECT_EQ(run.wait().position(), 0);
  const absl::Duration left = FromProtoTime(run.wait().retry_time()) - RealClock::Get().Now();
  EXPECT_GT(left, absl::Seconds(5));
  EXPECT_LE(left, absl::Seconds(10));
  EXPECT_NE(run.state_reason().find("in 10s at the earliest"), std::string::npos);
  EXPECT_TRUE(IsNone(Lease(worker_, {}, 1)));
  EndDelays();
  EXPECT_EQ(Lease(worker_).epoch(), 3);
  EXPECT_EQ(installation_.Sql("select retry_time is null from runs"), "f");
  EXPECT_FALSE(Run().has_wait());
}

TEST_F(RetriesTest, ARunThatWaitsForItsNextAttemptCanBeCanceledAndPaused) {
  LoseTrainer(worker_, StartRun());
  LoseTrainer(worker_, Lease(worker_));
  ASSERT_TRUE(user_.Pause(name_).ok());
  EXPECT_EQ(Run().state(), v1::Run::PAUSED);
  // Whoever resumes it has seen to what was wrong.
  ASSERT_TRUE(user_.Resume(name_).ok());
  EXPECT_EQ(Run().wait().reason(), v1::Wait::ABOUT_TO_START);
  LoseTrainer(worker_, Lease(worker_));
  EXPECT_EQ(Run().wait().reason(), v1::Wait::RETRY_DELAY);
  ASSERT_TRUE(user_.Cancel(name_).ok());
  EXPECT_EQ(Run().state(), v1::Run::STOPPED);
  EndDelays();
  TrustAgain("w1");
  EXPECT_TRUE(IsNone(Lease(worker_, {}, 2)));
}

TEST_F(RetriesTest, UnderAHoldingLimitADelayedRunGivesItsTurnToTheNext) {
  const auto server = installation_.StartDaemon(
      [](config::v1::DaemonConfig* config) { config->set_holding_runs_limit(1); });
  server_->Stop();
  TestClient user(server->listen(), installation_.Token("ann@example.com", "user"));
  TestWorker worker(installation_, *server, "w2");
  ASSERT_TRUE(worker.Open().ok());
  for (const char* name : {"one", "two"}) {
    v1::CreateRunRequest request = ValidRequest(installation_);
    request.set_run_id(name);
    ASSERT_TRUE(user.Create(request).ok());
  }
  const auto next = [&] {
    return installation_.Sql(
        "select string_agg(name, ' ') from run_queue join runs using (run_id)");
  };
  LoseTrainer(worker, Lease(worker));
  EXPECT_EQ(next(), "one");
  LoseTrainer(worker, Lease(worker));
  EXPECT_EQ(next(), "two");
  EXPECT_EQ(user.Get("one")->wait().reason(), v1::Wait::RETRY_DELAY);
  EndDelays();
  EXPECT_FALSE(IsNone(Lease(worker)));
  // Its time is over, and its turn has not come.
  EXPECT_EQ(user.Get("one")->wait().reason(), v1::Wait::HOLDING_LIMIT);
  ASSERT_TRUE(user.Cancel("two").ok());
}

TEST_F(RetriesTest, ACheckpointStartsTheCountAnew) {
  v1::AttemptRef attempt = StartRun();
  for (int64_t loss = 1; loss <= 3; ++loss) {
    LoseTrainer(worker_, attempt);
    EndDelays();
    TrustAgain("w1");
    EXPECT_NE(Run().state_reason().find(absl::StrCat("(", loss, " of at most 10)")),
              std::string::npos);
    attempt = LeaseAgain();
    worker_.held.clear();
  }
  ASSERT_TRUE(worker_.Report(attempt, 1, {EventOfType(Type::STARTED)}).ok());
  ASSERT_TRUE(worker_.Report(attempt, 2, {Checkpoint(lease_, 5)}).ok());
  v1::AttemptEnd end;
  end.set_signal(9);
  ASSERT_TRUE(worker_.Complete(attempt, end, 2).ok());
  EXPECT_NE(Run().state_reason().find("(1 of at most 10)"), std::string::npos);
  EXPECT_EQ(Run().wait().reason(), v1::Wait::ABOUT_TO_START);
  v1::ListAttemptsRequest request;
  request.set_name(name_);
  v1::ListAttemptsResponse attempts;
  ASSERT_TRUE(user_.runs().ListAttempts(user_.Context().get(), request, &attempts).ok());
  ASSERT_EQ(attempts.attempts_size(), 4);
  for (const auto& one : attempts.attempts()) {
    EXPECT_EQ(one.attribution(), v1::Failure::INFRASTRUCTURE);
  }
}

TEST_F(RetriesTest, ARunThatTakesThreeWorkersDownIsFailed) {
  CreateRun("poison");
  for (int i = 1; i <= 3; ++i) {
    TestWorker worker(installation_, *server_, absl::StrCat("n", i));
    ASSERT_TRUE(worker.Open().ok());
    EndDelays();
    ASSERT_FALSE(IsNone(Lease(worker)));
    // The host comes up again and knows nothing of it.
    ASSERT_TRUE(worker.Open().ok());
  }
  const auto run = user_.Get("poison");
  EXPECT_EQ(run->state(), v1::Run::FAILED);
  EXPECT_EQ(run->failure().code(), "TAKES_WORKERS_DOWN");
  EXPECT_EQ(run->failure().attribution(), v1::Failure::INFRASTRUCTURE);
}

// Loses three attempts, one after the other.
class QuarantineTest : public RetriesTest {
 protected:
  void SetUp() override {
    ASSERT_TRUE(worker_.Open().ok());
    for (const char* name : {"one", "two", "three"}) {
      CreateRun(name);
      EXPECT_EQ(GetWorker("w1").state(), v1::Worker::ONLINE);
      const v1::AttemptRef attempt = Lease(worker_);
      ASSERT_FALSE(IsNone(attempt));
      LoseTrainer(worker_, attempt);
      installation_.Sql(absl::StrCat("delete from run_queue where run_id = ", attempt.run_id()));
    }
    installation_.Sql(
        "insert into run_queue (shape_id, priority, pos, run_id) "
        "select shape_id, priority, queue_pos, run_id from runs");
  }

  void EndQuarantine() {
    installation_.Sql("update workers set quarantine_end_time = clock_timestamp()");
    // Another daemon's look would set it as it was.
    installation_.Sql(
        "update run_attempts set end_time = end_time - interval '10 minutes', "
        "create_time = create_time - interval '10 minutes' where end_time is not null");
  }
};

TEST_F(QuarantineTest, AWorkerThatLosesThreeInARowGetsNothingForAWhile) {
  const v1::Worker worker = GetWorker("w1");
  EXPECT_EQ(worker.state(), v1::Worker::QUARANTINED);
  EXPECT_EQ(worker.loss_count(), 3);
  const absl::Duration left = FromProtoTime(worker.quarantine_end_time()) - RealClock::Get().Now();
  EXPECT_GT(left, absl::Seconds(100));
  EXPECT_LE(left, absl::Minutes(2));
  EXPECT_TRUE(IsNone(Lease(worker_, {}, 2)));
  EXPECT_EQ(user_.Get("one")->wait().reason(), v1::Wait::WORKERS_IN_QUARANTINE);
  // Another gets what it may not.
  TestWorker other(installation_, *server_, "w2");
  ASSERT_TRUE(other.Open().ok());
  EXPECT_FALSE(IsNone(Lease(other)));
}

TEST_F(QuarantineTest, AfterItOneAttemptIsTriedAndACheckpointEndsTheTrial) {
  EndQuarantine();
  const auto acquired = worker_.Acquire(5, /*max_count=*/3);
  ASSERT_TRUE(acquired.ok());
  ASSERT_EQ(acquired->leases_size(), 1);
  const v1::Lease trial = acquired->leases(0);
  EXPECT_TRUE(IsNone(Lease(worker_, {trial.attempt()}, 2)));
  ASSERT_TRUE(worker_.Report(trial.attempt(), 1, {EventOfType(Type::STARTED)}).ok());
  ASSERT_TRUE(worker_.Report(trial.attempt(), 2, {Checkpoint(trial, 5)}).ok());
  EXPECT_FALSE(IsNone(Lease(worker_, {trial.attempt()})));
  EXPECT_EQ(GetWorker("w1").state(), v1::Worker::ONLINE);
}

TEST_F(QuarantineTest, AnotherLossMakesItLonger) {
  EndQuarantine();
  LoseTrainer(worker_, Lease(worker_));
  const v1::Worker worker = GetWorker("w1");
  EXPECT_EQ(worker.state(), v1::Worker::QUARANTINED);
  EXPECT_EQ(worker.loss_count(), 4);
  EXPECT_GT(FromProtoTime(worker.quarantine_end_time()) - RealClock::Get().Now(),
            absl::Seconds(220));
}

TEST_F(QuarantineTest, WhoeverTakesItBackIntoUseIsBelieved) {
  TrustAgain("w1");
  EXPECT_FALSE(IsNone(Lease(worker_)));
}

TEST_F(RetriesTest, ARunFailsThatHasWaitedTooLongForItsFirstStart) {
  v1::CreateRunRequest request = ValidRequest(installation_);
  request.mutable_run()
      ->mutable_spec()
      ->mutable_scheduling()
      ->mutable_max_queue_time()
      ->set_seconds(3600);
  const auto created = user_.Create(request);
  ASSERT_TRUE(created.ok());
  name_ = created->name();
  EXPECT_EQ(created->spec().scheduling().max_queue_time().seconds(), 3600);
  // A day of which it was paused does not count.
  ASSERT_TRUE(user_.Pause(name_).ok());
  installation_.Sql(
      "update runs set create_time = create_time - interval '24.5 hours', "
      "pause_time = pause_time - interval '24 hours'");
  ASSERT_TRUE(user_.Resume(name_).ok());
  ASSERT_TRUE(worker_.Open().ok());
  const v1::AttemptRef attempt = Lease(worker_);
  ASSERT_FALSE(IsNone(attempt));
  LoseTrainer(worker_, attempt);
  // Nothing of it has started yet.
  installation_.Sql("update runs set create_time = create_time - interval '31 minutes'");
  v1::WatchEventsRequest watch;
  watch.set_name(name_);
  const auto context = user_.Context();
  auto stream = user_.runs().WatchEvents(context.get(), watch);
  v1::WatchEventsResponse message;
  while (stream->Read(&message)) {
  }
  const v1::Run run = Run();
  EXPECT_EQ(run.state(), v1::Run::FAILED);
  EXPECT_EQ(run.failure().code(), "QUEUE_TIMEOUT");
  EXPECT_EQ(installation_.Sql("select active from owners where email = 'ann@example.com'"), "0");
  EXPECT_EQ(installation_.Sql("select count(*) from run_queue"), "0");
}

TEST_F(RetriesTest, ARunThatHasStartedWaitsAsLongAsItHasTo) {
  v1::CreateRunRequest request = ValidRequest(installation_);
  request.mutable_run()
      ->mutable_spec()
      ->mutable_scheduling()
      ->mutable_max_queue_time()
      ->set_seconds(60);
  name_ = user_.Create(request)->name();
  ASSERT_TRUE(worker_.Open().ok());
  const v1::AttemptRef attempt = Lease(worker_);
  ASSERT_TRUE(worker_.Report(attempt, 1, {EventOfType(Type::STARTED)}).ok());
  v1::AttemptEnd end;
  end.set_signal(9);
  ASSERT_TRUE(worker_.Complete(attempt, end, 1).ok());
  installation_.Sql("update runs set create_time = create_time - interval '1 day'");
  EXPECT_FALSE(IsNone(Lease(worker_)));
}

}  // namespace
}  // namespace finetuned
