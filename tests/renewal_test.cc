// Renewals of leases: held, answered at once when something is wanted, and never in each other's
// way.

#include <atomic>
#include <thread>
#include <vector>

#include "tests/lifecycle.h"

namespace finetuned {
namespace {

using RenewalTest = LifecycleTest;

TEST_F(RenewalTest, ACancelReachesTheWorkerAtOnceAndWinsOverAFinishedTraining) {
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

TEST_F(RenewalTest, ACancelThroughAnotherDaemonReachesTheHeldRenewalToo) {
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
TEST_F(RenewalTest, AHeldRenewalCostsThreeStatementsHoweverLongItIsHeld) {
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

// One owner's row is locked, as by a transaction whose COMMIT is long on its way, and many of that
// owner's calls wait for it. Everybody else is answered meanwhile.
TEST_F(RenewalTest, CallsThatWaitForALockHoldUpNeitherReadsNorWorkers) {
  const v1::AttemptRef attempt = StartRun();
  std::atomic<bool> released{false};
  std::thread holder([&] {
    installation_.Sql(
        "with held as materialized (select from owners where email = 'ann@example.com' for update) "
        "select pg_sleep(8) from held");
    released = true;
  });
  while (installation_.Sql("select count(*) from pg_stat_activity where query like '%pg_sleep(8)%' "
                           "and wait_event = 'PgSleep'") == "0") {
    std::this_thread::yield();
  }
  std::vector<std::thread> cancels;
  for (int i = 0; i < 12; ++i) {
    cancels.emplace_back([&] { user_.Cancel(name_).IgnoreError(); });
  }
  while (installation_.Sql("select count(*) from pg_locks where not granted") == "0") {
    std::this_thread::yield();
  }
  EXPECT_TRUE(user_.Get(name_).ok());
  EXPECT_TRUE(worker_.Renew(attempt, 0).ok());
  EXPECT_TRUE(worker_.Report(attempt, 1, {EventOfType(v1::RunEvent::STARTED)}).ok());
  EXPECT_TRUE(worker_.Open({attempt}).ok());
  EXPECT_FALSE(released);
  holder.join();
  for (std::thread& cancel : cancels) cancel.join();
}

// A worker that lost an attempt and leased its run again lists both until it has heard of it.
TEST_F(RenewalTest, ARenewalMayListTwoAttemptsOfOneRun) {
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

// Having taken a lease, a worker renews anew while its call before is still held; whatever wakes
// both must not take the new lease from it.
TEST_F(RenewalTest, ARenewalThatIsStillHeldDoesNotHideTheLeasesOfTheNext) {
  for (int round = 0; round < 5; ++round) {
    const v1::AttemptRef first = StartRun();
    const std::string first_name = name_;
    std::thread held([&, session = worker_.session()] {
      v1::RenewLeasesRequest request;
      request.set_session(session);
      *request.add_items()->mutable_attempt() = first;
      request.mutable_hold_duration()->set_seconds(10);
      v1::RenewLeasesResponse response;
      TestClient& client = worker_.client();
      EXPECT_TRUE(client.workers().RenewLeases(client.Context().get(), request, &response).ok());
    });
    ASSERT_TRUE(user_.Create(ValidRequest(installation_)).ok());
    const auto acquired = worker_.Acquire();
    ASSERT_TRUE(acquired.ok() && acquired->leases_size() == 1) << acquired.status();
    const v1::AttemptRef second = acquired->leases(0).attempt();
    v1::RenewLeasesRequest both;
    both.set_session(worker_.session());
    *both.add_items()->mutable_attempt() = first;
    *both.add_items()->mutable_attempt() = second;
    both.mutable_hold_duration()->set_seconds(10);
    v1::RenewLeasesResponse response;
    grpc::Status status;
    std::thread next([&] {
      TestClient& client = worker_.client();
      status = client.workers().RenewLeases(client.Context().get(), both, &response);
    });
    ASSERT_TRUE(user_.Cancel(first_name).ok());
    held.join();
    next.join();
    ASSERT_TRUE(status.ok()) << status.error_message();
    EXPECT_EQ(response.results(0).desired_stop(), v1::CANCEL);
    EXPECT_TRUE(FromProto(response.results(1).status()).ok())
        << FromProto(response.results(1).status());
    for (const v1::AttemptRef& attempt : {first, second}) {
      ASSERT_TRUE(worker_.Complete(attempt, Exit(65), 0).ok());
    }
    worker_.held.clear();
  }
}

TEST_F(RenewalTest, AHeldRenewalIsAnsweredWhenItsDaemonStops) {
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

TEST_F(RenewalTest, AnExpiredLeaseIsTakenAwayExactlyOnceByAnyNumberOfDaemons) {
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
  EXPECT_EQ(installation_.Sql("select attribution || ' ' || worker_lost from run_attempts"),
            "INFRASTRUCTURE true");
  EXPECT_EQ(EventTypes(),
            (std::vector<v1::RunEvent::Type>{v1::RunEvent::CREATED, v1::RunEvent::REQUEUED}));
}

TEST_F(RenewalTest, ARenewedLeaseDoesNotExpire) {
  const v1::AttemptRef attempt = StartRun();
  installation_.Sql("update leases set expire_time = clock_timestamp() + interval '1 second'");
  ASSERT_TRUE(worker_.Renew(attempt, 0).ok());
  EXPECT_EQ(installation_.Sql(
                "select expire_time > clock_timestamp() + interval '14 minutes' from leases"),
            "t");
}

}  // namespace
}  // namespace finetuned
