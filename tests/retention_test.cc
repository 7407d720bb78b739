// How long what runs leave is kept: files and partitions of events go when they are past the
// retention of their workspace, not before, and whoever asks for them is told.

#include <filesystem>
#include <fstream>
#include <set>
#include <thread>

#include <gmock/gmock.h>

#include "absl/strings/str_cat.h"
#include "db/retention.h"
#include "tests/lifecycle.h"

namespace finetuned {
namespace {

namespace fs = std::filesystem;

class RetentionTest : public LifecycleTest {
 protected:
  RetentionTest()
      : admin_(server_->listen(), installation_.Token("root@example.com", "admin")),
        pool_(PoolOptions()),
        store_(&pool_) {}

  // With the rights of a daemon.
  Pool::Options PoolOptions() const {
    Pool::Options options;
    options.database_url = installation_.Config().database_url();
    return options;
  }

  absl::StatusOr<v1::Workspace> Update(const v1::Retention& retention,
                                       const std::vector<std::string>& mask) {
    v1::UpdateWorkspaceRequest request;
    request.mutable_workspace()->set_name("workspaces/default");
    *request.mutable_workspace()->mutable_retention() = retention;
    for (const std::string& path : mask) request.mutable_update_mask()->add_paths(path);
    v1::Workspace workspace;
    const auto context = admin_.Context();
    const absl::Status status =
        FromGrpc(admin_.workspaces().UpdateWorkspace(context.get(), request, &workspace));
    if (!status.ok()) return status;
    return workspace;
  }

  void Keep(int event_hours, int metric_hours, int log_hours) {
    v1::Retention retention;
    if (event_hours > 0) retention.mutable_events_duration()->set_seconds(event_hours * 3600);
    if (metric_hours > 0) retention.mutable_metrics_duration()->set_seconds(metric_hours * 3600);
    if (log_hours > 0) retention.mutable_logs_duration()->set_seconds(log_hours * 3600);
    const auto updated = Update(retention, {"retention"});
    ASSERT_TRUE(updated.ok()) << updated.status();
  }

  v1::SweepFilesResponse Sweep(const std::string& receipt = "") {
    v1::SweepFilesRequest request;
    request.set_receipt(receipt);
    v1::SweepFilesResponse response;
    const auto context = worker_.client().Context();
    const absl::Status status =
        FromGrpc(worker_.client().workers().SweepFiles(context.get(), request, &response));
    EXPECT_TRUE(status.ok()) << status;
    return response;
  }

  // As several looks do, until there is nothing to do.
  void Retire() {
    for (int idle = 0; idle < 2;) {
      const auto retired = store_.RetireEventPartition();
      ASSERT_TRUE(retired.ok()) << retired.status();
      idle = *retired ? 0 : idle + 1;
    }
  }

  double Overdue(RetainedFiles files) {
    const auto overdue = store_.Overdue(files);
    EXPECT_TRUE(overdue.ok()) << overdue.status();
    return overdue.ok() ? absl::ToDoubleSeconds(*overdue) : -1;
  }

  std::string Create(const std::string& name) {
    v1::CreateRunRequest request = ValidRequest(installation_);
    request.set_run_id(name);
    const auto run = user_.Create(request);
    EXPECT_TRUE(run.ok()) << run.status();
    return name;
  }

  // As if so much time had gone by for the run.
  void Age(const std::string& name, const std::string& interval) {
    installation_.Sql(absl::StrCat(
        "begin; set local session_replication_role = replica; update runs set create_time = "
        "create_time - interval '",
        interval, "', end_time = end_time - interval '", interval, "' where name = '", name,
        "'; commit"));
  }

  fs::path Attempt(const std::string& name, int epoch = 1) const {
    return fs::path(installation_.artifact_root()) / "workspaces/default/runs" / name / "attempts" /
           std::to_string(epoch);
  }

  static void Write(const fs::path& file) {
    fs::create_directories(file.parent_path());
    std::ofstream(file) << "x";
  }

  absl::Status ReadLog(const std::string& name) {
    v1::ReadRunLogRequest request;
    request.set_name(name);
    request.set_attempt(1);
    request.set_stream(v1::ReadRunLogRequest::STDOUT);
    v1::ReadRunLogResponse response;
    const auto context = user_.Context();
    return FromGrpc(user_.runs().ReadRunLog(context.get(), request, &response));
  }

  absl::Status ReadMetrics(const std::string& name) {
    v1::ReadMetricsRequest request;
    request.set_name(name);
    const auto context = user_.Context();
    const auto stream = user_.runs().ReadMetrics(context.get(), request);
    v1::ReadMetricsResponse message;
    while (stream->Read(&message)) {
    }
    return FromGrpc(stream->Finish());
  }

  // The numbers of events, as `run/number`, up to where there are no more; and how it ended.
  struct Followed {
    std::vector<std::string> events;
    std::string cursor;
    absl::Status status;
  };
  Followed Follow(const v1::WatchEventsRequest& request) {
    Followed followed;
    const auto context = user_.Context();
    const auto stream = user_.runs().WatchEvents(context.get(), request);
    v1::WatchEventsResponse message;
    while (stream->Read(&message)) {
      for (const auto& event : message.events()) {
        followed.events.push_back(event.run().substr(event.run().rfind('/') + 1) + "/" +
                                  std::to_string(event.seq()));
      }
      followed.cursor = message.cursor();
      if (message.caught_up() && !request.parent().empty()) context->TryCancel();
    }
    followed.status = FromGrpc(stream->Finish());
    return followed;
  }
  Followed FollowAll(const std::string& cursor = "") {
    v1::WatchEventsRequest request;
    request.set_parent("workspaces/-");
    request.set_cursor(cursor);
    return Follow(request);
  }

  std::string Partitions() const {
    return installation_.Sql(
        "select string_agg(substring(inhrelid::regclass::text from '\\d+$'), ' ' order by "
        "inhrelid::regclass::text) from pg_inherits where inhparent = 'run_events'::regclass");
  }

  TestClient admin_;
  Pool pool_;
  RetentionStore store_;
};

TEST_F(RetentionTest, FilesAreToBeDeletedWhenTheyArePastTheirTimeAndNotBefore) {
  const v1::AttemptRef attempt = StartRun();
  const std::string old = name_.substr(name_.rfind('/') + 1);
  ASSERT_TRUE(worker_.Report(attempt, 1, {EventOfType(v1::RunEvent::TRAIN_FINISHED)}, 1).ok());
  ASSERT_TRUE(worker_.Complete(attempt, Exit(0, true), 1).ok());
  Create("fresh");
  ASSERT_TRUE(user_.Cancel("fresh").ok());
  Create("active");
  Age(old, "90 minutes");
  Age("active", "90 minutes");
  Write(Attempt(old) / "stdout.log");
  Write(Attempt(old) / "metrics");

  EXPECT_EQ(Sweep().artifact_paths_size(), 0) << "nothing is limited";
  EXPECT_EQ(Overdue(RetainedFiles::kLogs), 0);
  Keep(0, 2, 1);
  EXPECT_NEAR(Overdue(RetainedFiles::kLogs), 1800, 60);
  EXPECT_EQ(Overdue(RetainedFiles::kMetrics), 0);
  const v1::SweepFilesResponse logs = Sweep();
  EXPECT_EQ(logs.files(), v1::SweepFilesResponse::LOGS);
  EXPECT_THAT(logs.artifact_paths(), ::testing::ElementsAre("workspaces/default/runs/" + old));
  // Whoever asks without having deleted is given the same, and what is there can be read.
  EXPECT_EQ(Sweep().artifact_paths_size(), 1);
  EXPECT_TRUE(ReadLog(old).ok());
  fs::remove(Attempt(old) / "stdout.log");
  EXPECT_EQ(ErrorReason(ReadLog(old)), "PAST_RETENTION");
  EXPECT_EQ(Sweep(logs.receipt()).artifact_paths_size(), 0);
  EXPECT_EQ(Overdue(RetainedFiles::kLogs), 0);
  EXPECT_TRUE(ReadMetrics(old).ok());

  Age(old, "1 hour");
  const v1::SweepFilesResponse metrics = Sweep();
  EXPECT_EQ(metrics.files(), v1::SweepFilesResponse::METRICS);
  EXPECT_THAT(metrics.artifact_paths(), ::testing::ElementsAre("workspaces/default/runs/" + old));
  fs::remove(Attempt(old) / "metrics");
  EXPECT_EQ(Sweep(metrics.receipt()).artifact_paths_size(), 0);
  EXPECT_EQ(ErrorReason(ReadMetrics(old)), "PAST_RETENTION");
  EXPECT_EQ(user_.Get(old)->state(), v1::Run::COMPLETED);
  // All is kept for good from now on: what is gone is gone, and told as that.
  Keep(0, 0, 0);
  EXPECT_EQ(ErrorReason(ReadLog(old)), "PAST_RETENTION");
  EXPECT_EQ(ErrorReason(ReadMetrics(old)), "PAST_RETENTION");
  // What was never there is not.
  EXPECT_EQ(ErrorReason(ReadLog("fresh")), "LOG_NOT_FOUND");
}

TEST_F(RetentionTest, ManyRunsThatEndedAtOnceAreAllToBeDeleted) {
  installation_.Sql("update owners set active_limit = 1000");
  constexpr int kRuns = 210;
  for (int i = 0; i < kRuns; ++i) {
    ASSERT_TRUE(user_.Cancel(Create("run-" + std::to_string(i))).ok());
  }
  installation_.Sql(
      "begin; set local session_replication_role = replica; update runs set end_time = now() - "
      "interval '2 hours'; commit");
  Keep(0, 0, 1);
  const v1::SweepFilesResponse all = Sweep();
  EXPECT_EQ(all.artifact_paths_size(), kRuns);
  EXPECT_EQ(Sweep(all.receipt()).artifact_paths_size(), 0);
  // Where they ended one after the other they come in pieces, each once.
  installation_.Sql(
      "begin; set local session_replication_role = replica; update runs set end_time = now() - "
      "interval '3 hours' + run_id * interval '1 second'; update workspaces set logs_swept_time = "
      "null; commit");
  std::set<std::string> seen;
  size_t count = 0;
  v1::SweepFilesResponse piece = Sweep();
  for (; piece.artifact_paths_size() > 0; piece = Sweep(piece.receipt())) {
    seen.insert(piece.artifact_paths().begin(), piece.artifact_paths().end());
    count += static_cast<size_t>(piece.artifact_paths_size());
    EXPECT_LE(piece.artifact_paths_size(), 200);
  }
  EXPECT_EQ(seen.size(), size_t{kRuns});
  EXPECT_EQ(count, size_t{kRuns});
}

TEST_F(RetentionTest, AReceiptIsTheDaemonsOwn) {
  Create("old");
  ASSERT_TRUE(user_.Cancel("old").ok());
  Age("old", "2 hours");
  Keep(0, 0, 1);
  const std::string receipt = Sweep().receipt();
  for (const std::string& forged : {receipt + "x", receipt.substr(1), std::string("AAAA")}) {
    v1::SweepFilesRequest request;
    request.set_receipt(forged);
    v1::SweepFilesResponse response;
    const auto context = worker_.client().Context();
    const absl::Status status =
        FromGrpc(worker_.client().workers().SweepFiles(context.get(), request, &response));
    EXPECT_EQ(ErrorReason(status), "BAD_RECEIPT") << forged;
  }
  EXPECT_EQ(installation_.Sql("select count(*) from workspaces where logs_swept_time is not null"),
            "0");
}

TEST_F(RetentionTest, EventsOfAWholePartitionGoWhenAllOfItIsPast) {
  Create("one");
  Create("two");
  ASSERT_TRUE(user_.Cancel("one").ok());
  Age("one", "8 days");
  Age("two", "8 days");
  const std::string before = Partitions();
  // Without a retention nothing changes, however old the runs are.
  Retire();
  Create("three");
  EXPECT_EQ(installation_.Sql("select max(run_id) < 100000 from runs"), "t");
  Keep(1, 0, 0);
  Retire();
  EXPECT_EQ(Partitions(), before) << "two has not ended";
  // A week after the first, runs go to the next partition.
  Create("four");
  EXPECT_EQ(installation_.Sql("select run_id from runs where name = 'four'"), "100000");
  ASSERT_TRUE(user_.Cancel("two").ok());
  ASSERT_TRUE(user_.Cancel("three").ok());
  Age("two", "30 minutes");
  Age("three", "2 hours");
  const Followed all = FollowAll();
  EXPECT_EQ(all.events.size(), 7u);
  Retire();
  EXPECT_EQ(Partitions(), before) << "two ended half an hour ago";
  Age("two", "1 hour");
  Retire();
  EXPECT_THAT(before, ::testing::StartsWith("0 1 "));
  EXPECT_THAT(Partitions(), ::testing::StartsWith("1 "));

  // The run itself stays, and says what has become of its events.
  EXPECT_EQ(user_.Get("two")->state(), v1::Run::STOPPED);
  const auto listed = user_.Events("two");
  EXPECT_EQ(listed.status().code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(ErrorReason(listed.status()), "CURSOR_EXPIRED");
  EXPECT_EQ(ErrorMetadata(listed.status())["earliest_seq"], "3");
  v1::WatchEventsRequest watch;
  watch.set_name("two");
  watch.set_after_seq(1);
  EXPECT_EQ(ErrorReason(Follow(watch).status), "CURSOR_EXPIRED");
  watch.set_after_seq(2);
  EXPECT_TRUE(Follow(watch).status.ok());
}

TEST_F(RetentionTest, NobodyIsLedPastDroppedEventsWithoutBeingTold) {
  Create("one");
  ASSERT_TRUE(user_.Cancel("one").ok());
  v1::WatchEventsRequest request;
  request.set_parent("workspaces/-");
  const std::string early = FollowAll().cursor;
  Create("two");
  ASSERT_TRUE(user_.Cancel("two").ok());
  Age("one", "8 days");
  Age("two", "2 hours");
  Keep(1, 0, 0);
  // Two belongs to the first partition, which closes only now.
  Retire();
  Create("three");
  const std::string late = FollowAll().cursor;
  Retire();
  ASSERT_THAT(Partitions(), ::testing::StartsWith("1 "));

  // What is kept is read from the beginning, and from behind what was dropped.
  EXPECT_THAT(FollowAll().events, ::testing::ElementsAre("three/1"));
  EXPECT_THAT(FollowAll(late).events, ::testing::IsEmpty());
  const Followed expired = FollowAll(early);
  EXPECT_EQ(expired.status.code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(ErrorReason(expired.status), "CURSOR_EXPIRED");
  EXPECT_THAT(expired.events, ::testing::IsEmpty());
  // Who has been told goes on from the same place.
  const Followed rest = FollowAll(ErrorMetadata(expired.status)["earliest_cursor"]);
  EXPECT_THAT(rest.events, ::testing::ElementsAre("three/1"));
  EXPECT_THAT(FollowAll(rest.cursor).events, ::testing::IsEmpty());
  // Cursors of the stream that was told stay good, also before the dropped events' end.
  EXPECT_NE(FollowAll(rest.cursor).cursor, "");
}

TEST_F(RetentionTest, WhoWritesRunsIsNotHeldUpForLong) {
  Create("one");
  ASSERT_TRUE(user_.Cancel("one").ok());
  Age("one", "8 days");
  Keep(1, 0, 0);
  std::thread slow([&] {
    installation_.Sql(
        "begin; update runs set labels = labels; update run_events set message = message; select "
        "pg_sleep(2); rollback");
  });
  while (installation_.Sql("select count(*) from pg_stat_activity where query like "
                           "'%pg_sleep(2)%' and wait_event = 'PgSleep'") != "1") {
  }
  EXPECT_EQ(store_.RetireEventPartition().status().code(), absl::StatusCode::kUnavailable);
  slow.join();
  // The partition is closed first, and dropped at the next look.
  EXPECT_FALSE(*store_.RetireEventPartition());
  EXPECT_TRUE(*store_.RetireEventPartition());
  EXPECT_FALSE(*store_.RetireEventPartition());
}

TEST_F(RetentionTest, DurationsAreChecked) {
  v1::Retention retention;
  const auto reason = [&](const std::string& path) {
    return ErrorReason(Update(retention, {path}).status());
  };
  retention.mutable_logs_duration()->set_seconds(3599);
  retention.mutable_metrics_duration()->set_seconds(int64_t{36'500} * 86'400 + 1);
  retention.mutable_events_duration()->set_seconds(-1);
  const auto all = Update(retention, {"retention"});
  EXPECT_EQ(Violations(all.status()).size(), 3u);
  EXPECT_EQ(Violations(all.status())[0].field, "workspace.retention.events_duration");
  EXPECT_EQ(reason("retention.logs_duration"), "BAD_DURATION");
  retention.mutable_logs_duration()->set_seconds(3600);
  retention.mutable_logs_duration()->set_nanos(1);
  EXPECT_EQ(reason("retention.logs_duration"), "BAD_DURATION");
  EXPECT_EQ(reason("retention.everything"), "BAD_FIELD_MASK");
  EXPECT_EQ(installation_.Sql("select count(*) from workspaces where log_retention is not null"),
            "0");
  // What the mask does not name stays.
  retention.mutable_logs_duration()->set_nanos(0);
  ASSERT_TRUE(Update(retention, {"retention.logs_duration"}).ok());
  const auto changed = Update({}, {"retention.metrics_duration"});
  ASSERT_TRUE(changed.ok()) << changed.status();
  EXPECT_EQ(changed->retention().logs_duration().seconds(), 3600);
  EXPECT_FALSE(changed->retention().has_metrics_duration());
}

}  // namespace
}  // namespace finetuned
