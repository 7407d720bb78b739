// Admission is exact: under concurrency, over several daemons, with retries.

#include <map>
#include <thread>

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "base/uuid.h"
#include "db/admission.h"
#include "tests/support/test_daemon.h"

namespace finetuned {
namespace {

constexpr int kThreads = 20;

// Creates `count` runs at once from many threads, spread over the clients, and counts the answers
// by reason; an admitted one counts as "".
std::map<std::string, int> CreateMany(const TestInstallation& installation,
                                      std::vector<TestClient>& clients, int count) {
  std::vector<std::map<std::string, int>> counts(kThreads);
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = t; i < count; i += kThreads) {
        const auto run = clients[i % clients.size()].Create(ValidRequest(installation));
        ++counts[t][run.ok() ? "" : ErrorReason(run.status())];
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::map<std::string, int> total;
  for (const auto& part : counts) {
    for (const auto& [reason, number] : part) total[reason] += number;
  }
  return total;
}

std::unique_ptr<Server> StartWithLimit(const TestInstallation& installation, int active_runs) {
  return installation.StartDaemon([active_runs](config::v1::DaemonConfig* config) {
    config->set_active_runs_limit(active_runs);
  });
}

TEST(Admission, OfAThousandConcurrentCreatesExactlyTenAreAdmitted) {
  TestInstallation installation;
  const auto server = installation.StartDaemon();
  std::vector<TestClient> clients;
  clients.emplace_back(server->listen(), installation.Token("ann@example.com", "user"));
  const auto counts = CreateMany(installation, clients, 1000);
  EXPECT_EQ(counts, (std::map<std::string, int>{{"", 10}, {"ACTIVE_RUNS_QUOTA", 990}}));
  EXPECT_EQ(installation.Sql("select count(*) from runs"), "10");
  EXPECT_EQ(installation.Sql("select active from owners where email = 'ann@example.com'"), "10");
  // A refusal leaves no trace.
  EXPECT_EQ(installation.Sql("select count(*) from run_events"), "10");
  EXPECT_EQ(installation.Sql("select count(*) from run_specs"), "10");
  EXPECT_EQ(installation.Sql("select count(*) from create_requests"), "10");
  EXPECT_EQ(installation.Sql("select count(*) from run_queue"), "10");
}

TEST(Admission, ThreeDaemonsOnOnePostgresTogetherAdmitExactlyTen) {
  TestInstallation installation;
  std::vector<std::unique_ptr<Server>> servers;
  std::vector<TestClient> clients;
  const std::string token = installation.Token("ann@example.com", "user");
  for (int i = 0; i < 3; ++i) {
    servers.push_back(installation.StartDaemon());
    clients.emplace_back(servers.back()->listen(), token);
  }
  const auto counts = CreateMany(installation, clients, 1000);
  EXPECT_EQ(counts, (std::map<std::string, int>{{"", 10}, {"ACTIVE_RUNS_QUOTA", 990}}));
  EXPECT_EQ(installation.Sql("select count(*) from runs"), "10");
}

TEST(Admission, OwnersAreCountedApart) {
  TestInstallation installation;
  const auto server = StartWithLimit(installation, 2);
  for (const char* email : {"ann@example.com", "bob@example.com"}) {
    std::vector<TestClient> clients;
    clients.emplace_back(server->listen(), installation.Token(email, "user"));
    EXPECT_EQ(CreateMany(installation, clients, 20)[""], 2) << email;
  }
}

TEST(Admission, ARetriedRequestAtTheLimitAnswersAsItDid) {
  TestInstallation installation;
  const auto server = StartWithLimit(installation, 1);
  TestClient client(server->listen(), installation.Token("ann@example.com", "user"));
  v1::CreateRunRequest request = ValidRequest(installation);
  request.set_request_id(NewUuid(absl::FromUnixSeconds(1)));
  const auto first = client.Create(request);
  ASSERT_TRUE(first.ok()) << first.status();
  const auto again = client.Create(request);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->name(), first->name());
  EXPECT_EQ(again->uid(), first->uid());
  EXPECT_EQ(installation.Sql("select active from owners"), "1");
  // Another request is refused, and so is another body under the same id.
  const auto other = client.Create(ValidRequest(installation));
  EXPECT_EQ(ErrorReason(other.status()), "ACTIVE_RUNS_QUOTA");
  request.mutable_run()->mutable_spec()->set_training_duration("2ep");
  const auto reused = client.Create(request);
  EXPECT_EQ(reused.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ErrorReason(reused.status()), "REQUEST_ID_REUSED");
}

TEST(Admission, ARequestIsRememberedForADayAndNoLonger) {
  TestInstallation installation;
  const auto server = installation.StartDaemon();
  TestClient client(server->listen(), installation.Token("ann@example.com", "user"));
  v1::CreateRunRequest old = ValidRequest(installation), young = old;
  old.set_request_id(NewUuid(absl::FromUnixSeconds(1)));
  young.set_request_id(NewUuid(absl::FromUnixSeconds(2)));
  const auto old_run = client.Create(old), young_run = client.Create(young);
  ASSERT_TRUE(old_run.ok() && young_run.ok()) << old_run.status() << young_run.status();
  installation.Sql(absl::StrCat("update create_requests set create_time = create_time - interval '",
                                "25 hours' where request_id = '", old.request_id(), "'"));
  // More of an age than one statement takes away.
  installation.Sql(absl::StrCat(
      "insert into create_requests (owner_id, request_id, request_hash, run_id, create_time) "
      "select owner_id, gen_random_uuid(), '', run_id, clock_timestamp() - interval '2 days' "
      "from create_requests, generate_series(1, ",
      AdmissionStore::kForgottenBatch, ")"));
  Pool pool({installation.database().daemon_url});
  AdmissionStore admission(&pool, QuotaLimits());
  const absl::Status forgotten = admission.DeleteOldRequests(absl::Hours(24));
  ASSERT_TRUE(forgotten.ok()) << forgotten;
  EXPECT_EQ(installation.Sql("select string_agg(request_id::text, ' ') from create_requests"),
            young.request_id());
  EXPECT_EQ(client.Create(young)->name(), young_run->name());
  EXPECT_NE(client.Create(old)->name(), old_run->name());
}

TEST(Admission, OneRequestSentManyTimesAtOnceIsOneRun) {
  TestInstallation installation;
  const auto server = installation.StartDaemon();
  const auto second = installation.StartDaemon();
  const std::string token = installation.Token("ann@example.com", "user");
  std::vector<TestClient> clients;
  clients.emplace_back(server->listen(), token);
  clients.emplace_back(second->listen(), token);
  v1::CreateRunRequest request = ValidRequest(installation);
  request.set_request_id(NewUuid(absl::FromUnixSeconds(1)));
  std::vector<std::string> names(kThreads);
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      const auto run = clients[t % 2].Create(request);
      names[t] = run.ok() ? run->name() : run.status().ToString();
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::string& name : names) EXPECT_EQ(name, names[0]);
  EXPECT_EQ(installation.Sql("select count(*) from runs"), "1");
}

TEST(Admission, ANameIsTakenOnceAndForEverAndCostsNoSlot) {
  TestInstallation installation;
  const auto server = installation.StartDaemon();
  TestClient client(server->listen(), installation.Token("ann@example.com", "user"));
  v1::CreateRunRequest request = ValidRequest(installation);
  request.set_run_id("my-run");
  std::vector<std::thread> threads;
  std::atomic<int> admitted{0}, taken{0};
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      const auto run = client.Create(request);
      if (run.ok()) ++admitted;
      if (ErrorReason(run.status()) == "NAME_TAKEN") ++taken;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(admitted, 1);
  EXPECT_EQ(taken, kThreads - 1);
  EXPECT_EQ(installation.Sql("select active from owners"), "1");
  ASSERT_TRUE(client.Cancel("my-run").ok());
  EXPECT_EQ(client.Create(request).status().code(), absl::StatusCode::kAlreadyExists);
}

TEST(Admission, ACanceledRunFreesItsSlotOnce) {
  TestInstallation installation;
  const auto server = StartWithLimit(installation, 1);
  TestClient client(server->listen(), installation.Token("ann@example.com", "user"));
  const auto run = client.Create(ValidRequest(installation));
  ASSERT_TRUE(run.ok()) << run.status();
  const auto canceled = client.Cancel(run->name());
  ASSERT_TRUE(canceled.ok()) << canceled.status();
  EXPECT_EQ(canceled->results(0).outcome(), v1::CancelRunsResponse::Result::STOPPED);
  EXPECT_EQ(canceled->results(0).run().state(), v1::Run::STOPPED);
  EXPECT_EQ(client.Cancel(run->name())->results(0).outcome(),
            v1::CancelRunsResponse::Result::ALREADY_TERMINAL);
  EXPECT_EQ(installation.Sql("select active from owners"), "0");
  EXPECT_TRUE(client.Create(ValidRequest(installation)).ok());
  EXPECT_EQ(installation.Sql("select count(*) from run_queue"), "1");
}

TEST(Admission, TheRefusalNamesTheQuotaTheLimitTheUsageAndTheRuns) {
  TestInstallation installation;
  const auto server = StartWithLimit(installation, 1);
  TestClient client(server->listen(), installation.Token("ann@example.com", "user"));
  v1::CreateRunRequest request = ValidRequest(installation);
  request.set_run_id("holder");
  ASSERT_TRUE(client.Create(request).ok());
  const absl::Status refused = client.Create(ValidRequest(installation)).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  const auto metadata = ErrorMetadata(refused);
  EXPECT_EQ(metadata.at("quota"), "active_runs");
  EXPECT_EQ(metadata.at("limit"), "1");
  EXPECT_EQ(metadata.at("usage"), "1");
  EXPECT_EQ(metadata.at("runs"), "holder");
}

// Another body, the same name and somebody else's model are said before the quota, also where the
// owner is known to be full.
TEST(Admission, AFullOwnerIsAnsweredInTheSameOrder) {
  TestInstallation installation;
  const auto server = StartWithLimit(installation, 1);
  TestClient bob(server->listen(), installation.Token("bob@example.com", "user"));
  v1::CreateRunRequest foreign = ValidRequest(installation);
  foreign.mutable_run()->mutable_spec()->set_register_to("main.theirs.model");
  ASSERT_TRUE(bob.Create(foreign).ok());
  TestClient ann(server->listen(), installation.Token("ann@example.com", "user"));
  v1::CreateRunRequest request = ValidRequest(installation);
  request.set_request_id(NewUuid(absl::FromUnixSeconds(1)));
  request.set_run_id("mine");
  request.mutable_run()->mutable_spec()->set_register_to("main.mine.model");
  const auto first = ann.Create(request);
  ASSERT_TRUE(first.ok()) << first.status();
  for (int i = 0; i < 2; ++i) {
    v1::CreateRunRequest other = ValidRequest(installation);
    other.mutable_run()->mutable_spec()->set_register_to("main.mine.model");
    EXPECT_EQ(ErrorReason(ann.Create(other).status()), "ACTIVE_RUNS_QUOTA");
    const auto again = ann.Create(request);
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_EQ(again->uid(), first->uid());
    EXPECT_EQ(ErrorReason(ann.Create(other).status()), "ACTIVE_RUNS_QUOTA");
    v1::CreateRunRequest reused = request;
    reused.set_run_id("another");
    EXPECT_EQ(ErrorReason(ann.Create(reused).status()), "REQUEST_ID_REUSED");
    EXPECT_EQ(ErrorReason(ann.Create(other).status()), "ACTIVE_RUNS_QUOTA");
    v1::CreateRunRequest same_name = ValidRequest(installation);
    same_name.set_run_id("mine");
    EXPECT_EQ(ErrorReason(ann.Create(same_name).status()), "NAME_TAKEN");
    EXPECT_EQ(ErrorReason(ann.Create(other).status()), "ACTIVE_RUNS_QUOTA");
    EXPECT_EQ(ErrorReason(ann.Create(foreign).status()), "MODEL_NOT_YOURS");
  }
  EXPECT_EQ(installation.Sql("select count(*) from runs"), "2");
}

TEST(Admission, AFullOwnerIsRefusedWithoutALockUntilASlotIsFree) {
  TestInstallation installation;
  const auto server = StartWithLimit(installation, 1);
  TestClient client(server->listen(), installation.Token("ann@example.com", "user"));
  const auto run = client.Create(ValidRequest(installation));
  ASSERT_TRUE(run.ok()) << run.status();
  const auto refused = [&] {
    const absl::Status status = client.Create(ValidRequest(installation)).status();
    return ErrorReason(status) + " " + ErrorMetadata(status)["runs"];
  };
  const std::string expected =
      "ACTIVE_RUNS_QUOTA " + run->name().substr(run->name().rfind('/') + 1);
  EXPECT_EQ(refused(), expected);
  TestSession other(installation.database().admin_url);
  other.Query("begin");
  other.Query("select 1 from owners for update");
  for (int i = 0; i < 3; ++i) EXPECT_EQ(refused(), expected);
  other.Query("rollback");
  // Whoever frees a slot or raises the limit, the next create has it.
  ASSERT_TRUE(client.Cancel(run->name()).ok());
  EXPECT_TRUE(client.Create(ValidRequest(installation)).ok());
  EXPECT_EQ(ErrorReason(client.Create(ValidRequest(installation)).status()), "ACTIVE_RUNS_QUOTA");
  installation.Sql("update owners set active_limit = 2 returning 1");
  EXPECT_TRUE(client.Create(ValidRequest(installation)).ok());
  EXPECT_EQ(ErrorReason(client.Create(ValidRequest(installation)).status()), "ACTIVE_RUNS_QUOTA");
}

TEST(Admission, ARehearsalStoresNothingAndAnswersAsTheCreateWould) {
  TestInstallation installation;
  const auto server = StartWithLimit(installation, 1);
  TestClient client(server->listen(), installation.Token("ann@example.com", "user"));
  v1::CreateRunRequest request = ValidRequest(installation);
  request.set_validate_only(true);
  const auto rehearsed = client.Create(request);
  ASSERT_TRUE(rehearsed.ok()) << rehearsed.status();
  EXPECT_EQ(rehearsed->spec().training_duration(), "1ep");
  EXPECT_EQ(installation.Sql("select count(*) from runs"), "0");
  ASSERT_TRUE(client.Create(ValidRequest(installation)).ok());
  EXPECT_EQ(ErrorReason(client.Create(request).status()), "ACTIVE_RUNS_QUOTA");
}

}  // namespace
}  // namespace finetuned
