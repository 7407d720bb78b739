// Workers as people see them: who they are, what runs on them, and how they are taken out of use.

#include "tests/bad_input.h"
#include "tests/lifecycle.h"

namespace finetuned {
namespace {

class WorkersTest : public LifecycleTest {
 protected:
  WorkersTest()
      : admin_(server_->listen(), installation_.Token("root@example.com", "admin")),
        bob_(server_->listen(), installation_.Token("bob@example.com", "user")) {}

  absl::StatusOr<v1::Worker> Get(TestClient& client, const std::string& name) {
    v1::GetWorkerRequest request;
    request.set_name(name);
    v1::Worker worker;
    const absl::Status status =
        CallFor(client, client.runs(), &v1::RunService::Stub::GetWorker, request, &worker);
    if (!status.ok()) return status;
    return worker;
  }

  absl::StatusOr<v1::Worker> Drain(const std::string& name, bool stop_runs, bool undo = false) {
    v1::DrainWorkerRequest request;
    request.set_name(name);
    request.set_stop_runs(stop_runs);
    request.set_undo(undo);
    v1::Worker worker;
    const absl::Status status =
        CallFor(admin_, admin_.runs(), &v1::RunService::Stub::DrainWorker, request, &worker);
    if (!status.ok()) return status;
    return worker;
  }

  TestClient admin_, bob_;
};

TEST_F(WorkersTest, AWorkerIsShownWithWhatRunsOnItToWhoeverMaySeeIt) {
  const v1::AttemptRef attempt = StartRun();
  const auto mine = Get(user_, "w1");
  ASSERT_TRUE(mine.ok()) << mine.status();
  EXPECT_EQ(mine->state(), v1::Worker::ONLINE);
  ASSERT_EQ(mine->attempts_size(), 1);
  EXPECT_EQ(mine->attempts(0).run(), name_);
  EXPECT_EQ(mine->attempts(0).attempt(), attempt.epoch());
  EXPECT_EQ(mine->attempts(0).state(), v1::Run::STARTING);
  EXPECT_EQ(mine->attempts(0).compute().cpus(), 1);
  EXPECT_EQ(Get(admin_, "w1")->attempts(0).run(), name_);
  // That something runs there is no secret, whose it is is one.
  const auto foreign = Get(bob_, "w1");
  ASSERT_EQ(foreign->attempts_size(), 1);
  EXPECT_EQ(foreign->attempts(0).run(), "");
  EXPECT_EQ(ErrorReason(Get(user_, "absent").status()), "WORKER_NOT_FOUND");
  for (const std::string& name : {std::string(), std::string("A"), std::string("a/b"),
                                  std::string(64, 'a'), WithNul("a", "b")}) {
    ExpectViolation(Get(user_, name).status(), "name", "BAD_NAME");
    ExpectViolation(Drain(name, false).status(), "name", "BAD_NAME");
  }
}

TEST_F(WorkersTest, ADrainedWorkerGetsNothingNewUntilItIsTakenBack) {
  const v1::AttemptRef attempt = StartRun();
  const auto drained = Drain("w1", /*stop_runs=*/false);
  ASSERT_TRUE(drained.ok()) << drained.status();
  EXPECT_EQ(drained->state(), v1::Worker::DRAINING);
  ASSERT_TRUE(user_.Create(ValidRequest(installation_)).ok());
  EXPECT_EQ(worker_.Acquire(1)->leases_size(), 0);
  // What runs there goes on, and a new session changes nothing.
  EXPECT_EQ(worker_.Renew(attempt, 0)->results(0).desired_stop(), v1::STOP_KIND_UNSPECIFIED);
  ASSERT_TRUE(worker_.Open({attempt}).ok());
  EXPECT_EQ(worker_.Acquire(1)->leases_size(), 0);
  EXPECT_EQ(Get(user_, "w1")->state(), v1::Worker::DRAINING);
  const auto back = Drain("w1", false, /*undo=*/true);
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(back->state(), v1::Worker::ONLINE);
  EXPECT_EQ(worker_.Acquire(5)->leases_size(), 1);
  EXPECT_EQ(ErrorReason(Drain("absent", false).status()), "WORKER_NOT_FOUND");
  ExpectViolation(Drain("w1", true, /*undo=*/true).status(), "stop_runs", "BAD_VALUE");
}

TEST_F(WorkersTest, RunsOfADrainedWorkerAreStoppedAndQueuedAgainAtNoCost) {
  const v1::AttemptRef attempt = StartRun();
  ASSERT_TRUE(worker_.Report(attempt, 1, {EventOfType(v1::RunEvent::STARTED)}).ok());
  ASSERT_TRUE(Drain("w1", /*stop_runs=*/true).ok());
  EXPECT_EQ(worker_.Renew(attempt, 5)->results(0).desired_stop(), v1::PREEMPT);
  EXPECT_EQ(user_.Get(name_)->state(), v1::Run::TERMINATING);
  // Twice is once.
  const int64_t last_seq = user_.Get(name_)->last_seq();
  ASSERT_TRUE(Drain("w1", /*stop_runs=*/true).ok());
  EXPECT_EQ(user_.Get(name_)->last_seq(), last_seq);
  v1::AttemptEnd end = Exit(75);
  end.set_stop(v1::PREEMPT);
  ASSERT_TRUE(worker_.Complete(attempt, end, 1).ok());
  const auto run = user_.Get(name_);
  EXPECT_EQ(run->state(), v1::Run::PENDING);
  EXPECT_EQ(worker_.Acquire(1)->leases_size(), 0);
  TestWorker other(installation_, *server_, "w2");
  ASSERT_TRUE(other.Open().ok());
  const auto taken = other.Acquire(5);
  ASSERT_EQ(taken->leases_size(), 1);
  EXPECT_EQ(taken->leases(0).run(), name_);
}

TEST_F(WorkersTest, ATokenForOneWorkerIsForNoOther) {
  installation_.Sql("update tokens set worker_name = 'w2' where role = 'worker'");
  TestWorker named(installation_, *server_, "w2");
  EXPECT_TRUE(named.Open().ok());
  TestWorker other(installation_, *server_, "w3");
  // The tokens of both were made before they were bound to w2.
  installation_.Sql("update tokens set worker_name = 'w2' where role = 'worker'");
  const auto refused = other.Open();
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kPermissionDenied) << refused.status();
  EXPECT_EQ(ErrorReason(refused.status()), "WORKER_NAME_NOT_YOURS");
  EXPECT_EQ(ErrorMetadata(refused.status())["worker"], "w2");
  ExpectCleanError(refused.status());
}

}  // namespace
}  // namespace finetuned
