// What a user may change about a run that is there: labels, how it is scheduled, and that it is.

#include <gtest/gtest.h>

#include "base/time.h"
#include "tests/bad_input.h"

namespace finetuned {
namespace {

class EditsTest : public ::testing::Test {
 protected:
  EditsTest()
      : server_(installation_.StartDaemon()),
        client_(server_->listen(), installation_.Token("ann@example.com", "user")) {
    name_ = Create("first");
  }

  std::string Create(const std::string& run_id) {
    v1::CreateRunRequest request = ValidRequest(installation_);
    request.set_run_id(run_id);
    (*request.mutable_run()->mutable_labels())["team"] = "red";
    const auto run = client_.Create(request);
    EXPECT_TRUE(run.ok()) << run.status();
    return run.ok() ? run->name() : "";
  }

  v1::Run Get() {
    const auto run = client_.Get(name_);
    EXPECT_TRUE(run.ok()) << run.status();
    return run.ok() ? *run : v1::Run();
  }

  // Changes the paths of the mask to what `change` sets.
  absl::StatusOr<v1::Run> Update(const std::vector<std::string>& mask,
                                 const std::function<void(v1::Run*)>& change = {}) {
    return UpdateAs(client_, mask, change);
  }

  absl::StatusOr<v1::Run> UpdateAs(TestClient& client, const std::vector<std::string>& mask,
                                   const std::function<void(v1::Run*)>& change) {
    v1::UpdateRunRequest request;
    request.mutable_run()->set_name(name_);
    if (change) change(request.mutable_run());
    for (const std::string& path : mask) request.mutable_update_mask()->add_paths(path);
    v1::Run run;
    const absl::Status status =
        CallFor(client, client.runs(), &v1::RunService::Stub::UpdateRun, request, &run);
    if (!status.ok()) return status;
    return run;
  }

  absl::Status Delete(const std::string& name, const std::string& etag = "") {
    v1::DeleteRunRequest request;
    request.set_name(name);
    request.set_etag(etag);
    google::protobuf::Empty empty;
    return CallFor(client_, client_.runs(), &v1::RunService::Stub::DeleteRun, request, &empty);
  }

  static v1::Scheduling* SchedulingOf(v1::Run* run) {
    return run->mutable_spec()->mutable_scheduling();
  }

  std::string Lane() {
    return installation_.Sql(
        "select string_agg(r.name || ':' || q.priority, ' ' order by q.priority, q.pos) "
        "from run_queue q join runs r using (run_id)");
  }

  TestInstallation installation_;
  std::unique_ptr<Server> server_;
  TestClient client_;
  std::string name_;
};

TEST_F(EditsTest, LabelsAreReplacedWithoutAnEventAtAnyTime) {
  const std::string before = Get().etag();
  const auto updated =
      Update({"labels"}, [](v1::Run* run) { (*run->mutable_labels())["stage"] = "two"; });
  ASSERT_TRUE(updated.ok()) << updated.status();
  EXPECT_EQ(updated->labels_size(), 1);
  EXPECT_EQ(updated->labels().at("stage"), "two");
  EXPECT_NE(updated->etag(), before);
  EXPECT_EQ(updated->last_seq(), 1);
  ASSERT_TRUE(client_.Cancel(name_).ok());
  const auto afterwards = Update({"labels"});
  ASSERT_TRUE(afterwards.ok()) << afterwards.status();
  EXPECT_EQ(afterwards->labels_size(), 0);
  EXPECT_EQ(afterwards->state(), v1::Run::STOPPED);
}

TEST_F(EditsTest, AChangeOfTheScheduleIsAnEventAndIsEchoed) {
  const auto updated = Update(
      {"spec.scheduling.max_retries", "spec.scheduling.max_run_time", "spec.scheduling.priority"},
      [](v1::Run* run) {
        SchedulingOf(run)->set_max_retries(3);
        SchedulingOf(run)->set_priority(v1::Scheduling::LOW);
        SchedulingOf(run)->mutable_max_run_time()->set_seconds(7200);
        // Not named by the mask.
        run->mutable_spec()->set_model("finetuned/other");
      });
  ASSERT_TRUE(updated.ok()) << updated.status();
  EXPECT_EQ(updated->spec().scheduling().max_retries(), 3);
  EXPECT_EQ(updated->spec().scheduling().priority(), v1::Scheduling::LOW);
  EXPECT_EQ(updated->spec().scheduling().max_run_time().seconds(), 7200);
  EXPECT_EQ(updated->spec().model(), "finetuned/tiny-llama");
  EXPECT_EQ(updated->labels().at("team"), "red");
  const auto events = client_.Events(name_);
  ASSERT_TRUE(events.ok()) << events.status();
  ASSERT_EQ(events->events_size(), 2);
  EXPECT_EQ(events->events(1).type(), v1::RunEvent::UPDATED);
  EXPECT_EQ(events->events(1).message(),
            "Run updated: priority LOW, max_retries 3, max_run_time 2h.");
  // Only what changes is one.
  ASSERT_TRUE(Update({"spec.scheduling.max_retries"}, [](v1::Run* run) {
                SchedulingOf(run)->set_max_retries(3);
              }).ok());
  EXPECT_EQ(client_.Events(name_)->events_size(), 2);
  // What is not named stays, here and in the database.
  ASSERT_TRUE(Update({"spec.scheduling.max_queue_time"}, [](v1::Run* run) {
                SchedulingOf(run)->mutable_max_queue_time()->set_seconds(600);
              }).ok());
  ASSERT_TRUE(Update({"labels"}, [](v1::Run* run) { (*run->mutable_labels())["a"] = "b"; }).ok());
  EXPECT_EQ(client_.Get(name_)->spec().scheduling().max_queue_time().seconds(), 600);
  EXPECT_EQ(client_.Events(name_)->events_size(), 3);
  // Absent: no limit any more.
  const auto unlimited = Update({"spec.scheduling.max_run_time"});
  ASSERT_TRUE(unlimited.ok()) << unlimited.status();
  EXPECT_FALSE(unlimited->spec().scheduling().has_max_run_time());
  EXPECT_EQ(installation_.Sql("select max_run_time is null from runs"), "t");
}

TEST_F(EditsTest, AWaitingRunChangesItsLaneAndKeepsItsPlaceThere) {
  Create("second");
  Create("third");
  EXPECT_EQ(Lane(), "first:1 second:1 third:1");
  const auto set = [&](v1::Scheduling::Priority priority) {
    return Update({"spec.scheduling.priority"},
                  [=](v1::Run* run) { SchedulingOf(run)->set_priority(priority); });
  };
  ASSERT_TRUE(set(v1::Scheduling::LOWEST).ok());
  EXPECT_EQ(Lane(), "second:1 third:1 first:3");
  ASSERT_TRUE(set(v1::Scheduling::AUTO).ok());
  EXPECT_EQ(Lane(), "first:1 second:1 third:1");
}

// A daemon's claimer begins each lane at a hint; what moves before it must still be found.
TEST_F(EditsTest, ARunThatIsMadeUrgentIsLeasedBeforeTheOthers) {
  TestWorker worker(installation_, *server_, "w1");
  ASSERT_TRUE(worker.Open().ok());
  // The hints of the usual lane are beyond `first` and `second` now.
  ASSERT_TRUE(Update({"spec.scheduling.priority"}, [](v1::Run* run) {
                SchedulingOf(run)->set_priority(v1::Scheduling::LOWEST);
              }).ok());
  Create("second");
  auto lease = worker.Acquire();
  ASSERT_TRUE(lease.ok() && lease->leases_size() == 1);
  EXPECT_EQ(lease->leases(0).run(), "workspaces/default/runs/second");
  worker.held = {lease->leases(0).attempt()};
  TestClient ada(server_->listen(), installation_.Token("ada@example.com", "admin"));
  ASSERT_TRUE(UpdateAs(ada, {"spec.scheduling.priority"}, [](v1::Run* run) {
                SchedulingOf(run)->set_priority(v1::Scheduling::HIGH);
              }).ok());
  Create("third");
  lease = worker.Acquire();
  ASSERT_TRUE(lease.ok() && lease->leases_size() == 1);
  EXPECT_EQ(lease->leases(0).run(), "workspaces/default/runs/first");
}

TEST_F(EditsTest, ARunningRunsLimitsCanBeChangedAndATerminalOnesCannot) {
  TestWorker worker(installation_, *server_, "w1");
  ASSERT_TRUE(worker.Open().ok());
  const auto lease = worker.Acquire();
  ASSERT_TRUE(lease.ok() && lease->leases_size() == 1);
  const auto more = [](v1::Run* run) { SchedulingOf(run)->set_max_retries(5); };
  const auto updated = Update({"spec.scheduling.max_retries"}, more);
  ASSERT_TRUE(updated.ok()) << updated.status();
  // The retry policy goes by it.
  v1::AttemptEnd crash;
  crash.set_exit_code(1);
  ASSERT_TRUE(worker.Complete(lease->leases(0).attempt(), crash, 0).ok());
  EXPECT_EQ(Get().state(), v1::Run::PENDING);
  ASSERT_TRUE(client_.Cancel(name_).ok());
  const std::string before = StoredCounts(installation_);
  const absl::Status refused = Update({"spec.scheduling.max_retries"}, [](v1::Run* run) {
                                 SchedulingOf(run)->set_max_retries(6);
                               }).status();
  ExpectCleanError(refused);
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(ErrorReason(refused), "RUN_TERMINAL");
  EXPECT_EQ(StoredCounts(installation_), before);
}

TEST_F(EditsTest, AnEtagMeansTheRunAsItWasRead) {
  const std::string old_etag = Get().etag();
  const auto with_etag = [&](const std::string& etag, int retries) {
    return Update({"spec.scheduling.max_retries"}, [&](v1::Run* run) {
      run->set_etag(etag);
      SchedulingOf(run)->set_max_retries(retries);
    });
  };
  ASSERT_TRUE(with_etag(old_etag, 1).ok());
  for (const std::string& etag : {old_etag, std::string("x"), Filler(1000)}) {
    const absl::Status stale = with_etag(etag, 2).status();
    ExpectCleanError(stale);
    EXPECT_EQ(stale.code(), absl::StatusCode::kAborted);
    EXPECT_EQ(ErrorReason(stale), "ETAG_MISMATCH");
    EXPECT_EQ(ErrorReason(Delete(name_, etag)), "ETAG_MISMATCH");
  }
  // What was given up holds no lock.
  EXPECT_EQ(installation_.Sql("select count(*) from (select from runs for update nowait) r"), "1");
  EXPECT_EQ(Get().spec().scheduling().max_retries(), 1);
  EXPECT_TRUE(with_etag(Get().etag(), 2).ok());
}

TEST_F(EditsTest, WhatCannotBeChangedIsNamedWithAllThatIsWrong) {
  const std::string before = StoredCounts(installation_);
  ExpectViolation(Update({}).status(), "update_mask", "BAD_FIELD_MASK");
  for (const char* path : {"*", "name", "spec", "spec.model", "state", "spec.scheduling", "Labels",
                           "labels.team", "etag", "nonsense"}) {
    SCOPED_TRACE(path);
    ExpectViolation(Update({path}).status(), "update_mask", "BAD_FIELD_MASK");
  }
  ExpectViolation(Update({Filler(10000)}).status(), "update_mask", "BAD_FIELD_MASK");
  ExpectViolation(Update({"spec.scheduling.priority"}).status(), "run.spec.scheduling.priority",
                  "BAD_VALUE");
  const auto all =
      Update({"labels", "spec.scheduling.max_retries", "spec.scheduling.max_run_time",
              "spec.scheduling.priority"},
             [](v1::Run* run) {
               run->set_name("A");
               (*run->mutable_labels())["A"] = "x";
               SchedulingOf(run)->set_max_retries(-1);
               SchedulingOf(run)->mutable_max_run_time()->set_seconds(1);
               SchedulingOf(run)->set_priority(static_cast<v1::Scheduling::Priority>(99));
             });
  ExpectCleanError(all.status());
  EXPECT_EQ(Violations(all.status()).size(), 5u) << all.status();
  const absl::Status high = Update({"spec.scheduling.priority"}, [](v1::Run* run) {
                              SchedulingOf(run)->set_priority(v1::Scheduling::HIGH);
                            }).status();
  EXPECT_EQ(ErrorReason(high), "PERMISSION_MISSING");
  EXPECT_EQ(StoredCounts(installation_), before);
}

TEST_F(EditsTest, ADeletedRunIsNowhereAndItsNameStaysTaken) {
  EXPECT_EQ(ErrorReason(Delete(name_)), "RUN_NOT_TERMINAL");
  ASSERT_TRUE(client_.Cancel(name_).ok());
  const v1::Run run = Get();
  ASSERT_TRUE(Delete(name_, run.etag()).ok());
  for (const std::string& name : {name_, run.uid(), std::string("first")}) {
    EXPECT_EQ(ErrorReason(client_.Get(name).status()), "RUN_NOT_FOUND");
    EXPECT_EQ(ErrorReason(client_.Events(name).status()), "RUN_NOT_FOUND");
    EXPECT_EQ(ErrorReason(Delete(name)), "RUN_NOT_FOUND");
    EXPECT_EQ(ErrorReason(FromProto(client_.Cancel(name)->results(0).status())), "RUN_NOT_FOUND");
  }
  EXPECT_EQ(ErrorReason(Update({"labels"}).status()), "RUN_NOT_FOUND");
  v1::ListRunsRequest list;
  v1::ListRunsResponse listed;
  for (const char* name : {"", "first"}) {
    list.clear_names();
    if (*name != '\0') list.add_names(name);
    ASSERT_TRUE(
        CallFor(client_, client_.runs(), &v1::RunService::Stub::ListRuns, list, &listed).ok());
    EXPECT_EQ(listed.runs_size(), 0);
  }
  v1::CreateRunRequest again = ValidRequest(installation_);
  again.set_run_id("first");
  EXPECT_EQ(ErrorReason(client_.Create(again).status()), "NAME_TAKEN");
  // What happened is not undone.
  EXPECT_EQ(installation_.Sql("select count(*) from run_events"), "2");
  EXPECT_EQ(installation_.Sql("select sum(active) from owners"), "0");
}

}  // namespace
}  // namespace finetuned
