// What the other calls of RunService refuse, and what the transport does before any of them is
// reached.

#include <functional>
#include <limits>

#include <gtest/gtest.h>

#include "tests/bad_input.h"
#include "tests/support/raw_call.h"

namespace finetuned {
namespace {

// What can be no run's name, however it is written.
const std::vector<std::string>& BadNames() {
  static const auto* names =
      new std::vector<std::string>{"",
                                   " ",
                                   "a",
                                   "Run",
                                   "1run",
                                   "-run",
                                   "run-",
                                   ".",
                                   "..",
                                   "a b",
                                   "run-1, run-2",
                                   "%2e%2e",
                                   "a\nb",
                                   "a\tb",
                                   "a\u202eb",
                                   "a\u200bb",
                                   "e\u0301e",
                                   "\u0440un",
                                   "a\U0001f680",
                                   "-rf",
                                   "$(id)",
                                   "`id`",
                                   "a;b",
                                   "a'--",
                                   "<script>",
                                   "%n%s",
                                   "${jndi:ldap://x}",
                                   "00000000-0000-0000-0000-000000000000",
                                   "/",
                                   "//",
                                   "runs/a1",
                                   "/a1",
                                   "a1/",
                                   "workspaces/default",
                                   "workspaces/default/runs/",
                                   "workspaces/default/runs/a1/x",
                                   "workspaces/default/run/a1",
                                   "projects/default/runs/a1",
                                   "workspaces/default/runs/..",
                                   "../workspaces/default/runs/a1",
                                   std::string(64, 'a'),
                                   Filler(100000),
                                   WithNul("a1", "b"),
                                   WithNul("", ""),
                                   WithNul("workspaces/default/runs/a1", "")};
  return *names;
}

class BadInputTest : public ::testing::Test {
 protected:
  BadInputTest()
      : server_(installation_.StartDaemon()),
        client_(server_->listen(), installation_.Token("ann@example.com", "user")) {
    const auto run = client_.Create(ValidRequest(installation_));
    EXPECT_TRUE(run.ok()) << run.status();
    name_ = run->name();
    before_ = StoredCounts(installation_);
  }

  ~BadInputTest() override {
    EXPECT_EQ(StoredCounts(installation_), before_);
    EXPECT_TRUE(client_.Get(name_).ok()) << "the daemon does not live on";
  }

  absl::Status Events(const std::function<void(v1::ListRunEventsRequest*)>& change) {
    v1::ListRunEventsRequest request;
    request.set_name(name_);
    change(&request);
    v1::ListRunEventsResponse response;
    return CallFor(client_, client_.runs(), &v1::RunService::Stub::ListRunEvents, request,
                   &response);
  }

  absl::Status Checkpoints(const std::string& name) {
    v1::ListCheckpointsRequest request;
    request.set_name(name);
    v1::ListCheckpointsResponse response;
    return CallFor(client_, client_.runs(), &v1::RunService::Stub::ListCheckpoints, request,
                   &response);
  }

  absl::Status Log(const std::function<void(v1::ReadRunLogRequest*)>& change) {
    v1::ReadRunLogRequest request;
    request.set_name(name_);
    change(&request);
    v1::ReadRunLogResponse response;
    return CallFor(client_, client_.runs(), &v1::RunService::Stub::ReadRunLog, request, &response);
  }

  absl::Status List(const std::function<void(v1::ListRunsRequest*)>& change) {
    v1::ListRunsRequest request;
    change(&request);
    v1::ListRunsResponse response;
    return CallFor(client_, client_.runs(), &v1::RunService::Stub::ListRuns, request, &response);
  }

  absl::Status Cancel(const std::function<void(v1::CancelRunsRequest*)>& change) {
    v1::CancelRunsRequest request;
    change(&request);
    v1::CancelRunsResponse response;
    return CallFor(client_, client_.runs(), &v1::RunService::Stub::CancelRuns, request, &response);
  }

  // How a stream ends that is expected to be refused.
  absl::Status Watch(const std::string& name, int64_t after_seq) {
    v1::WatchEventsRequest request;
    request.set_name(name);
    request.set_after_seq(after_seq);
    const auto context = client_.Context();
    const auto stream = client_.runs().WatchEvents(context.get(), request);
    v1::WatchEventsResponse message;
    EXPECT_FALSE(stream->Read(&message)) << "a stream that should be refused";
    return FromGrpc(stream->Finish());
  }

  TestInstallation installation_;
  std::unique_ptr<Server> server_;
  TestClient client_;
  std::string name_;
  std::string before_;
};

TEST_F(BadInputTest, EveryCallThatTakesARunRefusesWhatCanBeNoName) {
  for (const std::string& name : BadNames()) {
    SCOPED_TRACE(::testing::PrintToString(name.substr(0, 80)));
    ExpectViolation(client_.Get(name).status(), "name", "BAD_NAME");
    ExpectViolation(Events([&](auto* request) { request->set_name(name); }), "name", "BAD_NAME");
    ExpectViolation(Checkpoints(name), "name", "BAD_NAME");
    ExpectViolation(Log([&](auto* request) { request->set_name(name); }), "name", "BAD_NAME");
    ExpectViolation(Watch(name, 0), "name", "BAD_NAME");
    const auto second = [&](auto* request) {
      request->add_names(name_);
      request->add_names(name);
    };
    ExpectViolation(List(second), "names[1]", "BAD_NAME");
    ExpectViolation(Cancel(second), "names[1]", "BAD_NAME");
  }
}

TEST_F(BadInputTest, AbsentRunsAreNotFoundWithoutAnEchoOfLongNames) {
  for (const std::string& name :
       {std::string("absent"), std::string("workspaces/default/runs/absent"),
        std::string("workspaces/-/runs/absent"), "workspaces/" + Filler(1000) + "/runs/absent",
        WithNul("workspaces/x", "y") + "/runs/absent",
        std::string("0190163d-8694-739b-aea5-966c26f8ad91")}) {
    SCOPED_TRACE(::testing::PrintToString(name.substr(0, 80)));
    const absl::Status status = client_.Get(name).status();
    ExpectCleanError(status);
    EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
    EXPECT_EQ(ErrorReason(status), "RUN_NOT_FOUND");
    const auto canceled = client_.Cancel(name);
    ASSERT_TRUE(canceled.ok()) << canceled.status();
    const absl::Status result = FromProto(canceled->results(0).status());
    ExpectCleanError(result);
    EXPECT_EQ(result.code(), absl::StatusCode::kNotFound);
    EXPECT_EQ(canceled->results(0).outcome(), v1::CancelRunsResponse::Result::OUTCOME_UNSPECIFIED);
  }
}

TEST_F(BadInputTest, PagesAndCursorsOutOfRangeAreRefused) {
  constexpr int kMin = std::numeric_limits<int32_t>::min();
  for (const int size : {-1, kMin}) {
    ExpectViolation(List([&](auto* request) { request->set_page_size(size); }), "page_size",
                    "BAD_PAGE_SIZE");
    ExpectViolation(Events([&](auto* request) { request->set_page_size(size); }), "page_size",
                    "BAD_PAGE_SIZE");
  }
  for (const int64_t after : {int64_t{-1}, std::numeric_limits<int64_t>::min()}) {
    ExpectViolation(Events([&](auto* request) { request->set_after_seq(after); }), "after_seq",
                    "BAD_CURSOR");
    ExpectViolation(Watch(name_, after), "after_seq", "BAD_CURSOR");
  }
  for (const int64_t after : {int64_t{2}, std::numeric_limits<int64_t>::max()}) {
    for (const absl::Status& status :
         {Events([&](auto* request) { request->set_after_seq(after); }), Watch(name_, after)}) {
      ExpectCleanError(status);
      EXPECT_EQ(status.code(), absl::StatusCode::kOutOfRange);
      EXPECT_EQ(ErrorReason(status), "CURSOR_AHEAD");
      EXPECT_EQ(ErrorMetadata(status)["last_seq"], "1");
    }
  }
}

TEST_F(BadInputTest, TheFiltersOfAListingAreCheckedTogether) {
  const auto set_time = [](google::protobuf::Timestamp* time, int64_t seconds, int nanos) {
    time->set_seconds(seconds);
    time->set_nanos(nanos);
  };
  constexpr int64_t kYear1 = -62135596800, kYear10000 = 253402300800;
  const std::vector<std::pair<int64_t, int>> times = {{kYear1 - 1, 0},
                                                      {kYear10000, 0},
                                                      {0, -1},
                                                      {0, 1000000000},
                                                      {std::numeric_limits<int64_t>::min(), 0},
                                                      {std::numeric_limits<int64_t>::max(), 0}};
  for (const auto& [seconds, nanos] : times) {
    SCOPED_TRACE(seconds);
    ExpectViolation(
        List([&, s = seconds, n = nanos](auto* r) { set_time(r->mutable_before(), s, n); }),
        "before", "BAD_TIME");
    ExpectViolation(
        List([&, s = seconds, n = nanos](auto* r) { set_time(r->mutable_after(), s, n); }), "after",
        "BAD_TIME");
  }
  for (const int state : {0, 10, 999, -1}) {
    ExpectViolation(
        List([&](auto* request) { request->add_states(static_cast<v1::Run::State>(state)); }),
        "states", "BAD_STATE");
  }
  ExpectViolation(List([](auto* request) { request->set_parent("x"); }), "parent", "BAD_NAME");
  ExpectViolation(List([](auto* request) {
                    for (int i = 0; i < 1001; ++i) request->add_names("a1");
                  }),
                  "names", "TOO_MANY");
  for (const char* order :
       {"name", "create_time asc", "CREATE_TIME", "create_time desc; --", " "}) {
    ExpectViolation(List([&](auto* request) { request->set_order_by(order); }), "order_by",
                    "BAD_ORDER");
  }
  for (const std::string& email : {std::string(), Filler(321), WithNul("a@b", "")}) {
    ExpectViolation(List([&](auto* request) { request->add_user_emails(email); }), "user_emails[0]",
                    "BAD_EMAIL");
  }
  ExpectViolation(List([](auto* request) {
                    for (int i = 0; i < 101; ++i) request->add_user_emails("a@b");
                  }),
                  "user_emails", "TOO_MANY");
  for (const std::string& experiment :
       {std::string("x"), std::string("/"), "/" + Filler(4096), WithNul("/a", "b"),
        std::string("workspaces/default/experiments/x"), std::string("' or true --")}) {
    ExpectViolation(List([&](auto* request) { request->set_experiment(experiment); }), "experiment",
                    "BAD_NAME");
    ExpectViolation(Cancel([&](auto* request) { request->set_experiment(experiment); }),
                    "experiment", "BAD_NAME");
  }
  ExpectViolation(List([](auto* request) { (*request->mutable_labels())["A"] = "x"; }), "labels",
                  "BAD_LABEL");
  ExpectViolation(List([](auto* request) {
                    for (int i = 0; i < 65; ++i)
                      (*request->mutable_labels())["k" + std::to_string(i)] = "x";
                  }),
                  "labels", "BAD_VALUE");
  const absl::Status all = List([&](auto* request) {
    set_time(request->mutable_before(), 0, -1);
    set_time(request->mutable_after(), 0, -1);
    request->add_states(static_cast<v1::Run::State>(999));
    request->add_names("A");
    request->set_page_size(-1);
  });
  ExpectCleanError(all);
  EXPECT_EQ(Violations(all).size(), 5u) << all;
  // The ends of time are times.
  constexpr int64_t kYear50 = -60589306152;
  for (const int64_t seconds : {kYear1, kYear1 + 1, kYear50, kYear10000 - 1, int64_t{0}}) {
    EXPECT_TRUE(List([&](auto* r) { set_time(r->mutable_before(), seconds, 999999999); }).ok())
        << seconds;
    EXPECT_TRUE(List([&](auto* r) { set_time(r->mutable_after(), seconds, 999999999); }).ok())
        << seconds;
  }
}

TEST_F(BadInputTest, CancelChecksItsCountItsReasonAndItsNames) {
  ExpectViolation(Cancel([](auto*) {}), "names", "BAD_COUNT");
  ExpectViolation(Cancel([](auto* request) {
                    request->add_names("a1");
                    request->set_experiment("/a");
                  }),
                  "names", "BAD_COUNT");
  ExpectViolation(Cancel([](auto* request) {
                    for (int i = 0; i < 101; ++i) request->add_names("a1");
                  }),
                  "names", "BAD_COUNT");
  const auto with_reason = [&](const std::string& reason) {
    return Cancel([&](auto* request) {
      request->add_names(name_);
      request->set_reason(reason);
    });
  };
  ExpectViolation(with_reason(Filler(257)), "reason", "TOO_LONG");
  ExpectViolation(with_reason(Filler(900000)), "reason", "TOO_LONG");
  for (const std::string& reason :
       {WithNul("a", "b"), std::string("a\nb"), std::string("\x1b[31m"), std::string("\x7f")}) {
    ExpectViolation(with_reason(reason), "reason", "BAD_REASON");
  }
  const absl::Status all = Cancel([](auto* request) {
    for (const char* name : {"A", "b1", ""}) request->add_names(name);
    request->set_reason(Filler(300));
  });
  EXPECT_EQ(Violations(all).size(), 3u) << all;
}

TEST_F(BadInputTest, AnErrorWithVeryManyNamesStillReachesItsCaller) {
  for (const int count : {100, 20000}) {
    const auto add = [&](auto* request) {
      for (int i = 0; i < count; ++i) request->add_names("A");
    };
    for (const absl::Status& status : {List(add), Cancel(add)}) {
      ExpectCleanError(status);
      EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
      EXPECT_FALSE(Violations(status).empty());
    }
  }
}

TEST_F(BadInputTest, ReadRunLogChecksEveryNumber) {
  constexpr int64_t kMin = std::numeric_limits<int64_t>::min(),
                    kMax = std::numeric_limits<int64_t>::max();
  ExpectViolation(Log([](auto* request) { request->set_attempt(-1); }), "attempt", "BAD_ATTEMPT");
  ExpectViolation(Log([](auto* request) { request->set_max_bytes(-1); }), "max_bytes", "BAD_SIZE");
  for (const int stream : {3, 999, -1}) {
    ExpectViolation(Log([&](auto* request) {
                      request->set_stream(static_cast<v1::ReadRunLogRequest::Stream>(stream));
                    }),
                    "stream", "BAD_STREAM");
  }
  const absl::Status all = Log([&](auto* request) {
    request->set_attempt(kMin);
    request->set_max_bytes(-5);
    request->set_stream(static_cast<v1::ReadRunLogRequest::Stream>(7));
  });
  EXPECT_EQ(Violations(all).size(), 3u) << all;
  for (const int64_t attempt : {int64_t{0}, int64_t{1}, kMax}) {
    for (const int64_t offset : {kMin, int64_t{-1}, kMax}) {
      const absl::Status none = Log([&](auto* request) {
        request->set_attempt(attempt);
        request->set_offset(offset);
        request->set_max_bytes(std::numeric_limits<int32_t>::max());
      });
      ExpectCleanError(none);
      EXPECT_EQ(none.code(), absl::StatusCode::kNotFound);
      EXPECT_EQ(ErrorReason(none), "LOG_NOT_FOUND");
    }
  }
}

// Calls that no stub would make.
class BadTransportTest : public BadInputTest {
 protected:
  BadTransportTest() : raw_(server_->listen()) {}

  grpc::Status Send(const std::string& method, const std::string& bytes) {
    return raw_.Call(client_.Context().get(), method, bytes);
  }

  RawCaller raw_;
};

// gRPC itself answers these, with either code; no handler sees them.
TEST_F(BadTransportTest, BytesThatAreNoMessageEndTheCallAndNotTheDaemon) {
  const std::string service = "/finetuned.v1.RunService/";
  // A length beyond the end, an endless varint, groups without an end, a wrong wire type, and a
  // text that is no UTF-8.
  const std::vector<std::string> broken = {"\x0a\x7f",
                                           std::string(20, '\xff'),
                                           std::string(200, '\x0b'),
                                           "\x0f",
                                           std::string("\x0a\x02\xc3\x28", 4),
                                           std::string("\x0a\x01\xed", 3),
                                           std::string("\x0a\x03\xed\xa0\x80", 5)};
  for (const std::string& bytes : broken) {
    for (const char* method :
         {"CreateRun", "GetRun", "ListRunEvents", "ListCheckpoints", "CancelRuns", "ReadRunLog"}) {
      const grpc::Status status = Send(service + method, bytes);
      EXPECT_TRUE(status.error_code() == grpc::StatusCode::INTERNAL ||
                  status.error_code() == grpc::StatusCode::UNIMPLEMENTED)
          << method << ": " << status.error_code() << " " << status.error_message();
    }
    // Parses its requests itself, and can say what is wrong.
    EXPECT_EQ(ErrorReason(FromGrpc(Send(service + "WatchEvents", bytes))), "MALFORMED");
  }
}

TEST_F(BadTransportTest, AMessageBeyondTheLimitIsRefusedBeforeItIsRead) {
  v1::CreateRunRequest request = ValidRequest(installation_);
  request.mutable_run()->mutable_spec()->add_eval_prompts(Filler(1 << 20));
  const absl::Status status = client_.Create(request).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
}

TEST_F(BadTransportTest, UnknownMethodsServicesAndReflectionAreUnimplemented) {
  for (const char* method : {"/finetuned.v1.RunService/Nothing", "/finetuned.v1.Nothing/GetRun",
                             "/", "/x", "/finetuned.v1.WorkerService/OpenSession",
                             "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
                             "/grpc.channelz.v1.Channelz/GetServers"}) {
    EXPECT_EQ(Send(method, "").error_code(), grpc::StatusCode::UNIMPLEMENTED) << method;
  }
}

TEST_F(BadTransportTest, ACompressedMessageIsNotInflated) {
  const auto context = client_.Context();
  context->set_compression_algorithm(GRPC_COMPRESS_GZIP);
  v1::GetRunRequest request;
  request.set_name(Filler(900000));
  const grpc::Status status =
      raw_.Call(context.get(), "/finetuned.v1.RunService/GetRun", request.SerializeAsString());
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNIMPLEMENTED) << status.error_message();
}

TEST_F(BadTransportTest, HeadersBeyondTheirLimitAreRefused) {
  const auto context = client_.Context();
  context->AddMetadata("x-filler", Filler(20000));
  v1::GetRunRequest request;
  request.set_name(name_);
  const grpc::Status status =
      raw_.Call(context.get(), "/finetuned.v1.RunService/GetRun", request.SerializeAsString());
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED) << status.error_message();
}

TEST_F(BadTransportTest, ADeadlineThatIsOverIsAnsweredAsSuchAndAFarOneIsTaken) {
  v1::GetRunRequest request;
  request.set_name(name_);
  const auto over = client_.Context();
  over->set_deadline(std::chrono::system_clock::now() - std::chrono::seconds(1));
  v1::Run run;
  EXPECT_EQ(client_.runs().GetRun(over.get(), request, &run).error_code(),
            grpc::StatusCode::DEADLINE_EXCEEDED);
  const auto far = client_.Context();
  far->set_deadline(std::chrono::system_clock::now() + std::chrono::hours(24 * 365 * 100));
  EXPECT_TRUE(client_.runs().GetRun(far.get(), request, &run).ok());
}

}  // namespace
}  // namespace finetuned
