// What WorkerService refuses, what it mends, and that nothing a worker sends can make a run
// unreadable or endless.

#include <functional>
#include <limits>

#include <gtest/gtest.h>

#include "artifacts/artifact_store.h"
#include "tests/bad_input.h"

namespace finetuned {
namespace {

constexpr int kMinInt = std::numeric_limits<int32_t>::min();
constexpr int64_t kMinLong = std::numeric_limits<int64_t>::min(),
                  kMaxLong = std::numeric_limits<int64_t>::max();

class BadWorkerInputTest : public ::testing::Test {
 protected:
  BadWorkerInputTest()
      : server_(installation_.StartDaemon()),
        user_(server_->listen(), installation_.Token("ann@example.com", "user")),
        worker_(installation_, *server_, "w1") {
    const auto run = user_.Create(ValidRequest(installation_));
    EXPECT_TRUE(run.ok()) << run.status();
    name_ = run->name();
    EXPECT_TRUE(worker_.Open().ok());
    const auto acquired = worker_.Acquire();
    EXPECT_EQ(acquired->leases_size(), 1);
    attempt_ = acquired->leases(0).attempt();
    checkpoints_ = acquired->leases(0).checkpoints_path();
    worker_.held = {attempt_};
    EXPECT_TRUE(worker_.Report(attempt_, 1, {EventOfType(v1::RunEvent::STARTED)}).ok());
    before_ = StoredCounts(installation_);
  }

  absl::Status Open(const std::function<void(v1::OpenSessionRequest*)>& change) {
    v1::OpenSessionRequest request;
    request.set_worker("w2");
    request.set_boot_id("boot");
    request.mutable_capacity()->set_cpus(4);
    request.set_nonce_name("w2");
    request.set_nonce("nonce");
    EXPECT_TRUE(ArtifactStore(installation_.artifact_root()).WriteNonce("w2", "nonce").ok());
    change(&request);
    v1::OpenSessionResponse response;
    return CallFor(worker_.client(), worker_.client().workers(),
                   &v1::WorkerService::Stub::OpenSession, request, &response);
  }

  absl::Status Acquire(const std::function<void(v1::AcquireLeasesRequest*)>& change) {
    v1::AcquireLeasesRequest request;
    request.set_session(worker_.session());
    request.mutable_free()->set_cpus(1);
    request.set_max_count(1);
    *request.add_held() = attempt_;
    change(&request);
    v1::AcquireLeasesResponse response;
    return CallFor(worker_.client(), worker_.client().workers(),
                   &v1::WorkerService::Stub::AcquireLeases, request, &response);
  }

  absl::Status Renew(const std::function<void(v1::RenewLeasesRequest*)>& change) {
    v1::RenewLeasesRequest request;
    request.set_session(worker_.session());
    *request.add_items()->mutable_attempt() = attempt_;
    change(&request);
    v1::RenewLeasesResponse response;
    return CallFor(worker_.client(), worker_.client().workers(),
                   &v1::WorkerService::Stub::RenewLeases, request, &response);
  }

  // What the only item's result says of a report that is number `number`.
  absl::Status ReportOf(int64_t number, const v1::RunEvent& event) {
    const auto response = worker_.Report(attempt_, number, {event});
    if (!response.ok()) return response.status();
    EXPECT_EQ(response->results_size(), 1);
    return FromProto(response->results(0).status());
  }

  TestInstallation installation_;
  std::unique_ptr<Server> server_;
  TestClient user_;
  TestWorker worker_;
  std::string name_, checkpoints_;
  v1::AttemptRef attempt_;
  std::string before_;
};

TEST_F(BadWorkerInputTest, OpenSessionChecksWhoAndWhatTheWorkerIs) {
  for (const std::string& name :
       {std::string(), std::string(" "), std::string("W"), std::string("-w"), std::string("w-"),
        std::string("a/b"), std::string("a_b"), std::string("\u0440"), std::string(64, 'w'),
        Filler(1000), WithNul("w", ""), std::string("w\n"), std::string("..")}) {
    SCOPED_TRACE(::testing::PrintToString(name));
    ExpectViolation(Open([&](auto* request) { request->set_worker(name); }), "worker", "BAD_NAME");
  }
  const auto capacity = [&](const std::function<void(v1::Compute*)>& change) {
    return Open([&](auto* request) { change(request->mutable_capacity()); });
  };
  ExpectViolation(capacity([](auto* c) { c->set_cpus(0); }), "capacity", "BAD_CAPACITY");
  ExpectViolation(capacity([](auto* c) { c->set_cpus(kMinInt); }), "capacity", "BAD_CAPACITY");
  ExpectViolation(capacity([](auto* c) { c->set_gpus(-1); }), "capacity", "BAD_CAPACITY");
  ExpectViolation(capacity([](auto* c) { c->set_memory_bytes(kMinLong); }), "capacity",
                  "BAD_CAPACITY");
  ExpectViolation(capacity([](auto* c) { c->set_gpu_type(Filler(64)); }), "capacity",
                  "BAD_CAPACITY");
  ExpectViolation(capacity([](auto* c) { c->set_gpu_type(WithNul("h", "1")); }), "capacity",
                  "BAD_CAPACITY");
  for (const std::string& id : {std::string(), Filler(65), WithNul("b", "c"), std::string("b\n")}) {
    ExpectViolation(Open([&](auto* request) { request->set_boot_id(id); }), "boot_id",
                    "BAD_BOOT_ID");
  }
  for (const std::string& version : {Filler(65), WithNul("1", "2"), std::string("\x1b[31m")}) {
    ExpectViolation(Open([&](auto* request) { request->set_version(version); }), "version",
                    "BAD_VERSION");
  }
  const auto label = [&](const std::string& key, const std::string& value) {
    return Open([&](auto* request) { (*request->mutable_labels())[key] = value; });
  };
  for (const auto& [key, value] :
       std::vector<std::pair<std::string, std::string>>{{"", "x"},
                                                        {WithNul("a", "b"), "x"},
                                                        {"a", WithNul("x", "y")},
                                                        {"a", Filler(257)},
                                                        {Filler(64), "x"},
                                                        {"a", "x\ny"}}) {
    ExpectViolation(label(key, value), "labels", "BAD_LABEL");
  }
  ExpectViolation(Open([](auto* request) {
                    for (int i = 0; i < 65; ++i)
                      (*request->mutable_labels())["k" + std::to_string(i)] = "";
                  }),
                  "labels", "TOO_MANY");
  ExpectViolation(Open([](auto* request) {
                    for (int i = 0; i < 10001; ++i) request->add_attempts()->set_run_id(i);
                  }),
                  "attempts", "TOO_MANY");
  for (const std::string& nonce :
       {std::string(), std::string("."), std::string(".."), std::string("../w2"),
        std::string("a/b"), std::string("absent"), Filler(1000), WithNul("w2", "")}) {
    SCOPED_TRACE(::testing::PrintToString(nonce));
    const absl::Status status = Open([&](auto* request) { request->set_nonce_name(nonce); });
    ExpectCleanError(status);
    EXPECT_EQ(ErrorReason(status), "ARTIFACT_ROOT_MISMATCH") << status;
  }
  EXPECT_EQ(ErrorReason(Open([](auto* request) { request->set_nonce("other"); })),
            "ARTIFACT_ROOT_MISMATCH");
  const absl::Status all = Open([](auto* request) {
    request->Clear();
    for (int i = 0; i < 65; ++i) (*request->mutable_labels())["k" + std::to_string(i)] = "";
  });
  EXPECT_EQ(Violations(all).size(), 4u) << all;
  EXPECT_EQ(StoredCounts(installation_), before_);
  EXPECT_TRUE(Open([](auto*) {}).ok());
}

TEST_F(BadWorkerInputTest, PollsAndRenewalsCheckCountsAndTimes) {
  for (const int count : {0, -1, 65, kMinInt}) {
    ExpectViolation(Acquire([&](auto* request) { request->set_max_count(count); }), "max_count",
                    "BAD_COUNT");
  }
  for (const auto& [seconds, nanos] : std::vector<std::pair<int64_t, int>>{
           {-1, 0}, {0, -1}, {1, -1}, {0, 1000000000}, {kMinLong, 0}, {kMaxLong, 0}}) {
    SCOPED_TRACE(seconds);
    const auto hold = [s = seconds, n = nanos](auto* request) {
      request->mutable_hold_duration()->set_seconds(s);
      request->mutable_hold_duration()->set_nanos(n);
    };
    ExpectViolation(Acquire(hold), "hold_duration", "BAD_DURATION");
    ExpectViolation(Renew(hold), "hold_duration", "BAD_DURATION");
  }
  ExpectViolation(Acquire([](auto* request) {
                    for (int i = 0; i < 10001; ++i) request->add_held()->set_run_id(i);
                  }),
                  "held", "TOO_MANY");
  ExpectViolation(Renew([](auto* request) {
                    for (int i = 0; i < 10000; ++i)
                      request->add_items()->mutable_attempt()->set_run_id(i);
                  }),
                  "items", "TOO_MANY");
  EXPECT_TRUE(Acquire([](auto* request) { request->mutable_free()->set_cpus(kMinInt); }).ok());
  EXPECT_TRUE(Acquire([](auto*) {}).ok());
  EXPECT_TRUE(Renew([](auto*) {}).ok());
  EXPECT_EQ(StoredCounts(installation_), before_);
}

TEST_F(BadWorkerInputTest, ASessionThatWasNeverOpenedIsSuperseded) {
  for (const int64_t session :
       {int64_t{0}, int64_t{-1}, kMinLong, kMaxLong, worker_.session() + 1}) {
    for (const absl::Status& status :
         {Acquire([&](auto* request) { request->set_session(session); }),
          Renew([&](auto* request) { request->set_session(session); })}) {
      ExpectCleanError(status);
      EXPECT_EQ(ErrorReason(status), "SESSION_SUPERSEDED") << status;
    }
  }
}

TEST_F(BadWorkerInputTest, AttemptsThatAreNotThereAreLostEachByItself) {
  std::vector<v1::AttemptRef> wrong(6);
  wrong[0].set_run_id(attempt_.run_id());
  wrong[0].set_epoch(attempt_.epoch() + 1);
  wrong[1].set_run_id(attempt_.run_id());
  wrong[1].set_epoch(attempt_.epoch() - 1);
  wrong[2].set_run_id(attempt_.run_id() + 1000);
  wrong[2].set_epoch(1);
  wrong[3].set_run_id(-1);
  wrong[4].set_run_id(kMinLong);
  wrong[4].set_epoch(kMinLong);
  wrong[5].set_run_id(kMaxLong);
  wrong[5].set_epoch(kMaxLong);
  v1::AttemptEnd end;
  end.set_exit_code(0);
  end.set_finished(true);
  for (const v1::AttemptRef& ref : wrong) {
    SCOPED_TRACE(ref.ShortDebugString());
    const auto reported = worker_.Report(ref, 2, {EventOfType(v1::RunEvent::DATA_VALIDATED)});
    const auto completed = worker_.Complete(ref, end, 1);
    const auto renewed = worker_.Renew(ref, 0);
    ASSERT_TRUE(reported.ok() && completed.ok() && renewed.ok());
    for (const auto& status : {reported->results(0).status(), completed->results(0).status(),
                               renewed->results(0).status()}) {
      ExpectCleanError(FromProto(status));
      EXPECT_EQ(ErrorReason(FromProto(status)), "LEASE_LOST");
      EXPECT_EQ(status.code(), static_cast<int>(absl::StatusCode::kFailedPrecondition));
    }
  }
  EXPECT_EQ(StoredCounts(installation_), before_);
}

TEST_F(BadWorkerInputTest, AReportThatIsNoneIsRefusedAndNothingOfItsItemIsStored) {
  const auto refused = [&](const std::string& what, const v1::RunEvent& event,
                           const std::string& field, const std::string& reason) {
    SCOPED_TRACE(what);
    ExpectViolation(ReportOf(2, event), field, reason);
  };
  for (const int type : {0, 17, 999, -1}) {
    refused("type", EventOfType(static_cast<v1::RunEvent::Type>(type)), "items.reports",
            "BAD_REPORT");
  }
  for (const auto type : {v1::RunEvent::CREATED, v1::RunEvent::COMPLETED, v1::RunEvent::CANCELED,
                          v1::RunEvent::FAILED, v1::RunEvent::REQUEUED,
                          v1::RunEvent::STOP_REQUESTED, v1::RunEvent::UPDATED}) {
    refused("the daemon's own", EventOfType(type), "items.reports.event.type",
            "EVENT_TYPE_NOT_REPORTABLE");
  }
  for (const auto type :
       {v1::RunEvent::TRAIN_UPDATED, v1::RunEvent::EVALUATED, v1::RunEvent::CHECKPOINT_SAVED}) {
    refused("without its detail", EventOfType(type), "items.reports", "BAD_REPORT");
  }
  v1::RunEvent event = EventOfType(v1::RunEvent::STARTED);
  event.mutable_progress();
  refused("another's detail", event, "items.reports", "BAD_REPORT");
  event = EventOfType(v1::RunEvent::OTHER);
  event.set_raw_json(Filler((64 << 10) + 1));
  refused("larger than 64 KiB", event, "items.reports", "BAD_REPORT");
  for (const auto& [seconds, nanos] : std::vector<std::pair<int64_t, int>>{
           {-62135596801, 0}, {253402300800, 0}, {0, -1}, {0, 1000000000}}) {
    event = EventOfType(v1::RunEvent::DATA_VALIDATED);
    event.mutable_worker_time()->set_seconds(seconds);
    event.mutable_worker_time()->set_nanos(nanos);
    refused("worker_time", event, "items.reports", "BAD_REPORT");
  }
  for (const auto& [seconds, nanos] : std::vector<std::pair<int64_t, int>>{
           {kMaxLong, 0}, {kMinLong, 0}, {1, -1}, {0, 1000000000}, {-1, 0}}) {
    event = EventOfType(v1::RunEvent::TRAIN_UPDATED);
    event.mutable_progress()->mutable_remaining_duration()->set_seconds(seconds);
    event.mutable_progress()->mutable_remaining_duration()->set_nanos(nanos);
    refused("remaining_duration", event, "items.reports", "BAD_REPORT");
    *event.mutable_progress()->mutable_trained_duration() = event.progress().remaining_duration();
    event.mutable_progress()->clear_remaining_duration();
    refused("trained_duration", event, "items.reports", "BAD_REPORT");
  }
  const std::string folder = checkpoints_ + "/";
  for (const auto& [name, path] :
       std::vector<std::pair<std::string, std::string>>{{"", folder + "ep1-ba1"},
                                                        {WithNul("ep1", ""), folder + "ep1"},
                                                        {"ep1\n", folder + "ep1"},
                                                        {Filler(256), folder + "ep1"},
                                                        {"ep1", ""},
                                                        {"ep1", "/etc/passwd"},
                                                        {"ep1", "../../x"},
                                                        {"ep1", folder + "../ep1"},
                                                        {"ep1", WithNul(folder, "x")},
                                                        {"ep1", folder + Filler(5000)},
                                                        {"ep1", folder + "a\nb"},
                                                        {"a/b", folder + "ep1"},
                                                        {"..", folder + "ep1"}}) {
    event = EventOfType(v1::RunEvent::CHECKPOINT_SAVED);
    event.mutable_checkpoint()->set_name(name);
    event.mutable_checkpoint()->set_path(path);
    refused(::testing::PrintToString(name.substr(0, 20) + " at " + path.substr(0, 60)), event,
            "items.reports", "BAD_REPORT");
  }
  ExpectViolation(ReportOf(3, EventOfType(v1::RunEvent::DATA_VALIDATED)), "items.reports.number",
                  "REPORT_OUT_OF_ORDER");
  for (const int64_t number : {int64_t{0}, int64_t{-1}, kMinLong}) {
    ExpectViolation(ReportOf(number, EventOfType(v1::RunEvent::DATA_VALIDATED)), "items.reports",
                    "BAD_REPORT");
  }
  // A good report before a bad one in one item is not stored either.
  const auto both = worker_.Report(
      attempt_, 2, {EventOfType(v1::RunEvent::DATA_VALIDATED), EventOfType(v1::RunEvent::CREATED)});
  ASSERT_TRUE(both.ok());
  EXPECT_NE(both->results(0).status().code(), 0);
  EXPECT_EQ(StoredCounts(installation_), before_);
  EXPECT_TRUE(ReportOf(2, EventOfType(v1::RunEvent::DATA_VALIDATED)).ok());
}

TEST_F(BadWorkerInputTest, TooManyItemsReportsOrTwiceTheSameAreRefused) {
  v1::ReportEventsRequest reports;
  v1::CompleteAttemptsRequest completions;
  reports.set_session(worker_.session());
  completions.set_session(worker_.session());
  for (int i = 0; i < 2; ++i) {
    *reports.add_items()->mutable_attempt() = attempt_;
    *completions.add_items()->mutable_attempt() = attempt_;
  }
  v1::ReportEventsResponse reported;
  v1::CompleteAttemptsResponse completed;
  TestClient& client = worker_.client();
  const auto report = [&] {
    return CallFor(client, client.workers(), &v1::WorkerService::Stub::ReportEvents, reports,
                   &reported);
  };
  const auto complete = [&] {
    return CallFor(client, client.workers(), &v1::WorkerService::Stub::CompleteAttempts,
                   completions, &completed);
  };
  ExpectViolation(report(), "items", "DUPLICATE");
  ExpectViolation(complete(), "items", "DUPLICATE");
  for (int i = 0; i < 257; ++i) {
    reports.add_items()->mutable_attempt()->set_run_id(i + 1000);
    completions.add_items()->mutable_attempt()->set_run_id(i + 1000);
  }
  ExpectViolation(report(), "items", "TOO_MANY");
  ExpectViolation(complete(), "items", "TOO_MANY");
  const auto many = worker_.Report(
      attempt_, 2, std::vector<v1::RunEvent>(1001, EventOfType(v1::RunEvent::OTHER)));
  ASSERT_TRUE(many.ok()) << many.status();
  ExpectViolation(FromProto(many->results(0).status()), "items.reports", "TOO_MANY");
  EXPECT_EQ(StoredCounts(installation_), before_);
}

// One bad item does not cost the others of its call anything.
TEST_F(BadWorkerInputTest, ABadItemDoesNotSpoilTheOthers) {
  v1::ReportEventsRequest request;
  request.set_session(worker_.session());
  auto* bad = request.add_items();
  bad->mutable_attempt()->set_run_id(attempt_.run_id() + 1000);
  bad->add_reports()->mutable_event()->set_type(v1::RunEvent::CREATED);
  auto* good = request.add_items();
  *good->mutable_attempt() = attempt_;
  good->add_reports()->set_number(2);
  good->mutable_reports(0)->mutable_event()->set_type(v1::RunEvent::DATA_VALIDATED);
  v1::ReportEventsResponse response;
  TestClient& client = worker_.client();
  ASSERT_TRUE(
      CallFor(client, client.workers(), &v1::WorkerService::Stub::ReportEvents, request, &response)
          .ok());
  EXPECT_NE(response.results(0).status().code(), 0);
  EXPECT_EQ(response.results(1).status().code(), 0);
  EXPECT_EQ(response.results(1).acked_report(), 2);
}

// A trainer's words come from programs and data that nobody checked: they are mended, because
// refusing them would leave the worker with a report that it can never deliver.
TEST_F(BadWorkerInputTest, WhatTrainersSayIsMendedAndStored) {
  v1::RunEvent event = EventOfType(v1::RunEvent::MODEL_INITIALIZED);
  event.set_message(WithNul("mo", "del\n\x1b[31m"));
  const absl::Status model = ReportOf(2, event);
  EXPECT_TRUE(model.ok()) << model;
  event = EventOfType(v1::RunEvent::OTHER);
  event.set_message(WithNul("say", "\r\n{\"level\":\"error\"}"));
  event.set_raw_json(WithNul("{", "}"));
  const absl::Status other = ReportOf(3, event);
  EXPECT_TRUE(other.ok()) << other;
  event = EventOfType(v1::RunEvent::OTHER);
  event.set_message(Filler(60000));
  const absl::Status large = ReportOf(4, event);
  EXPECT_TRUE(large.ok()) << large;
  event = EventOfType(v1::RunEvent::TRAIN_UPDATED);
  event.mutable_progress()->set_train_loss(std::numeric_limits<double>::quiet_NaN());
  event.mutable_progress()->mutable_remaining_duration()->set_seconds(315576000000);
  event.mutable_worker_time()->set_seconds(0);
  const absl::Status never = ReportOf(5, event);
  EXPECT_TRUE(never.ok()) << never;
  EXPECT_TRUE(user_.Get(name_).ok());
  const auto events = user_.Events(name_);
  ASSERT_TRUE(events.ok()) << events.status();
  EXPECT_EQ(events->events_size(), 6);
  for (const auto& stored : events->events()) {
    EXPECT_LE(stored.message().size(), 4096u);
    for (const char c : stored.message())
      EXPECT_GE(static_cast<unsigned char>(c), 0x20) << stored.message();
  }
}

TEST_F(BadWorkerInputTest, AnEndWithAnyWordsEndsTheRunAndStaysReadable) {
  v1::AttemptEnd end;
  end.set_exit_code(65);
  end.set_signal(kMinInt);
  end.set_stop(static_cast<v1::StopKind>(99));
  end.mutable_end_time()->set_seconds(kMaxLong);
  std::string euros;
  for (int i = 0; i < 3000; ++i) euros += "\u20ac";
  auto* failure = end.mutable_failure();
  failure->set_code(WithNul("C", "") + Filler(10000));
  failure->set_message(WithNul("bad", "\n") + euros + euros);
  failure->set_attribution(static_cast<v1::Failure::Attribution>(99));
  failure->set_stderr_tail(WithNul("x", "y\n") + euros);
  const auto completed = worker_.Complete(attempt_, end, 1);
  ASSERT_TRUE(completed.ok()) << completed.status();
  EXPECT_TRUE(FromProto(completed->results(0).status()).ok())
      << FromProto(completed->results(0).status());
  EXPECT_EQ(completed->results(0).run_state(), v1::Run::FAILED);
  const auto run = user_.Get(name_);
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_EQ(run->state(), v1::Run::FAILED);
  EXPECT_LE(run->failure().code().size(), 63u);
  EXPECT_LE(run->failure().message().size(), 4096u);
  EXPECT_LE(run->failure().stderr_tail().size(), 4096u);
  EXPECT_GT(run->failure().stderr_tail().size(), 4000u) << "the end of what was said is kept";
  EXPECT_EQ(run->failure().message().find('\0'), std::string::npos);
  EXPECT_LE(run->state_reason().size(), 4096u);
  EXPECT_TRUE(user_.Events(name_).ok());
  v1::ListRunsRequest list;
  v1::ListRunsResponse listed;
  const absl::Status status =
      CallFor(user_, user_.runs(), &v1::RunService::Stub::ListRuns, list, &listed);
  EXPECT_TRUE(status.ok()) << "one run must not hide the others: " << status;
}

TEST_F(BadWorkerInputTest, AnEndBeforeItsReportsIsRefused) {
  v1::AttemptEnd end;
  end.set_exit_code(0);
  end.set_finished(true);
  for (const int64_t last : {int64_t{2}, kMaxLong}) {
    const auto completed = worker_.Complete(attempt_, end, last);
    ASSERT_TRUE(completed.ok());
    EXPECT_EQ(ErrorReason(FromProto(completed->results(0).status())), "REPORTS_MISSING");
  }
  EXPECT_EQ(StoredCounts(installation_), before_);
}

TEST_F(BadWorkerInputTest, AMessageBeyondTheLimitIsRefused) {
  v1::ReportEventsRequest request;
  request.set_session(worker_.session());
  auto* item = request.add_items();
  *item->mutable_attempt() = attempt_;
  for (int i = 0; i < 20; ++i) {
    auto* report = item->add_reports();
    report->set_number(i + 2);
    report->mutable_event()->set_type(v1::RunEvent::OTHER);
    report->mutable_event()->set_raw_json(Filler(60000));
  }
  v1::ReportEventsResponse response;
  TestClient& client = worker_.client();
  const absl::Status status =
      CallFor(client, client.workers(), &v1::WorkerService::Stub::ReportEvents, request, &response);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  EXPECT_EQ(StoredCounts(installation_), before_);
}

}  // namespace
}  // namespace finetuned
