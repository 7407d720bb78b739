// Who may call what, and whose runs a call may touch.

#include <map>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "finetuned/v1/artifact_service.pb.h"
#include "finetuned/v1/experiment_service.pb.h"
#include "finetuned/v1/model_service.pb.h"
#include "finetuned/v1/workspace_service.pb.h"
#include "tests/bad_input.h"
#include "tests/support/raw_call.h"

namespace finetuned {
namespace {

using Roles = std::set<std::string>;

// The whole matrix, written down apart from the code: a method that is not here fails the test.
const std::map<std::string, Roles>& WhoMayCall() {
  static const auto* roles = new std::map<std::string, Roles>{
      {"RunService/CreateRun", {"user", "admin"}},
      {"RunService/GetRun", {"reader", "user", "admin"}},
      {"RunService/ListRuns", {"reader", "user", "admin"}},
      {"RunService/CancelRuns", {"user", "admin"}},
      {"RunService/UpdateRun", {"user", "admin"}},
      {"RunService/PauseRun", {"user", "admin"}},
      {"RunService/ResumeRun", {"user", "admin"}},
      {"RunService/DeleteRun", {"user", "admin"}},
      {"RunService/ListRunEvents", {"reader", "user", "admin"}},
      {"RunService/ListCheckpoints", {"reader", "user", "admin"}},
      {"RunService/ListAttempts", {"reader", "user", "admin"}},
      {"RunService/WatchEvents", {"reader", "user", "admin"}},
      {"RunService/ReadMetrics", {"reader", "user", "admin"}},
      {"RunService/ReadRunLog", {"reader", "user", "admin"}},
      {"RunService/GetQuota", {"reader", "user", "admin"}},
      {"RunService/ListWorkers", {"reader", "user", "admin"}},
      {"RunService/GetWorker", {"reader", "user", "admin"}},
      {"RunService/DrainWorker", {"admin"}},
      {"ExperimentService/ListExperiments", {"reader", "user", "admin"}},
      {"ExperimentService/GetExperiment", {"reader", "user", "admin"}},
      {"ModelService/ListModels", {"reader", "user", "admin"}},
      {"ModelService/ListRegisteredModels", {"reader", "user", "admin"}},
      {"ModelService/GetRegisteredModel", {"reader", "user", "admin"}},
      {"ArtifactService/ListArtifacts", {"reader", "user", "admin"}},
      {"ArtifactService/ReadArtifact", {"reader", "user", "admin"}},
      {"WorkspaceService/GetWorkspace", {"reader", "user", "admin"}},
      {"WorkspaceService/UpdateWorkspace", {"admin"}},
      {"WorkerService/OpenSession", {"worker"}},
      {"WorkerService/AcquireLeases", {"worker"}},
      {"WorkerService/RenewLeases", {"worker"}},
      {"WorkerService/ReportEvents", {"worker"}},
      {"WorkerService/CompleteAttempts", {"worker"}},
      {"WorkerService/SweepFiles", {"worker"}},
  };
  return *roles;
}

std::vector<std::string> AllMethods() {
  std::vector<std::string> methods;
  for (const auto* service :
       {v1::CreateRunRequest::descriptor()->file()->FindServiceByName("RunService"),
        v1::Experiment::descriptor()->file()->FindServiceByName("ExperimentService"),
        v1::Model::descriptor()->file()->FindServiceByName("ModelService"),
        v1::Artifact::descriptor()->file()->FindServiceByName("ArtifactService"),
        v1::Workspace::descriptor()->file()->FindServiceByName("WorkspaceService"),
        v1::OpenSessionRequest::descriptor()->file()->FindServiceByName("WorkerService")}) {
    for (int i = 0; i < service->method_count(); ++i) {
      methods.push_back(service->name() + "/" + service->method(i)->name());
    }
  }
  return methods;
}

class AuthorizationTest : public ::testing::Test {
 protected:
  AuthorizationTest()
      : server_(installation_.StartDaemon()),
        run_service_(server_->listen()),
        worker_service_(server_->worker_listen()) {}

  // Calls a method with an empty request and these values of the authorization header.
  absl::Status Call(const std::string& method, const std::vector<std::string>& authorizations) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
    for (const std::string& value : authorizations) context.AddMetadata("authorization", value);
    RawCaller& raw = method.rfind("WorkerService/", 0) == 0 ? worker_service_ : run_service_;
    return FromGrpc(raw.Call(&context, "/finetuned.v1." + method, ""));
  }

  TestInstallation installation_;
  std::unique_ptr<Server> server_;
  RawCaller run_service_, worker_service_;
};

TEST_F(AuthorizationTest, EveryMethodIsForItsRolesAndForNobodyElse) {
  for (const char* role : {"reader", "user", "admin", "worker"}) {
    const std::string bearer = "Bearer " + installation_.Token("ann@example.com", role);
    for (const std::string& method : AllMethods()) {
      SCOPED_TRACE(method + " as " + role);
      ASSERT_EQ(WhoMayCall().count(method), 1u) << "a method whose callers nobody has decided";
      const absl::Status status = Call(method, {bearer});
      EXPECT_NE(status.code(), absl::StatusCode::kUnauthenticated) << status;
      if (WhoMayCall().at(method).count(role) != 0) {
        EXPECT_NE(status.code(), absl::StatusCode::kPermissionDenied) << status;
      } else {
        // Before the request is looked at: it is empty, and most methods would say so.
        EXPECT_EQ(status.code(), absl::StatusCode::kPermissionDenied) << status;
        EXPECT_EQ(ErrorReason(status), "PERMISSION_MISSING");
        EXPECT_EQ(ErrorMetadata(status)["role"], role);
      }
    }
  }
  EXPECT_EQ(AllMethods().size(), WhoMayCall().size());
}

TEST_F(AuthorizationTest, WhoeverCannotSayWhoItIsMayCallNothing) {
  const std::string good = "Bearer " + installation_.Token("ann@example.com", "admin");
  const std::string expired = "Bearer " + installation_.Token("old@example.com", "admin");
  const std::string revoked = "Bearer " + installation_.Token("gone@example.com", "admin");
  installation_.Sql(
      "update tokens set expire_time = clock_timestamp() where email = 'old@example.com'");
  installation_.Sql(
      "update tokens set revoke_time = clock_timestamp() where email = 'gone@example.com'");
  const std::vector<std::pair<std::vector<std::string>, std::string>> nobodies = {
      {{}, "TOKEN_MISSING"},
      {{""}, "TOKEN_MISSING"},
      {{good, good}, "TOKEN_MISSING"},
      {{"Basic YTpi"}, "TOKEN_MALFORMED"},
      {{"Bearer"}, "TOKEN_MALFORMED"},
      {{good.substr(7)}, "TOKEN_MALFORMED"},
      {{"Bearer " + std::string(7000, 'x')}, "TOKEN_UNKNOWN"},
      {{"Bearer wrong"}, "TOKEN_UNKNOWN"},
      {{good + "x"}, "TOKEN_UNKNOWN"},
      {{"Bearer ' or true --"}, "TOKEN_UNKNOWN"},
      {{expired}, "TOKEN_UNKNOWN"},
      {{revoked}, "TOKEN_UNKNOWN"},
  };
  for (const std::string& method : AllMethods()) {
    for (const auto& [authorizations, reason] : nobodies) {
      SCOPED_TRACE(method + " with " + ::testing::PrintToString(authorizations).substr(0, 60));
      const absl::Status status = Call(method, authorizations);
      EXPECT_EQ(status.code(), absl::StatusCode::kUnauthenticated) << status;
      EXPECT_EQ(ErrorReason(status), reason);
      for (const std::string& text : TextsOf(status)) {
        EXPECT_EQ(text.find(good.substr(7)), std::string::npos) << "a token is echoed";
      }
    }
  }
}

TEST_F(AuthorizationTest, TokensAreNotStored) {
  const std::string token = installation_.Token("ann@example.com", "user");
  EXPECT_EQ(installation_.Sql("select count(*) from tokens where "
                              "position(convert_to('" +
                              token + "', 'UTF8') in token_hash) > 0"),
            "0");
  EXPECT_EQ(installation_.Sql("select count(*) from tokens where token_hash = sha256(convert_to('" +
                              token + "', 'UTF8'))"),
            "1");
}

// How a call that names one run ended.
struct Answer {
  std::string call;
  absl::Status status;
};

// Every call that takes the name of one run and reads it. A log that is not there yet has been
// looked for, so the run was found.
std::vector<Answer> ReadEverything(TestClient& client, const std::string& name) {
  std::vector<Answer> answers;
  answers.push_back({"GetRun", client.Get(name).status()});
  answers.push_back({"ListRunEvents", client.Events(name).status()});
  v1::ListCheckpointsRequest checkpoints;
  checkpoints.set_name(name);
  v1::ListCheckpointsResponse listed;
  answers.push_back(
      {"ListCheckpoints", CallFor(client, client.runs(), &v1::RunService::Stub::ListCheckpoints,
                                  checkpoints, &listed)});
  v1::ReadRunLogRequest log;
  log.set_name(name);
  v1::ReadRunLogResponse piece;
  absl::Status read =
      CallFor(client, client.runs(), &v1::RunService::Stub::ReadRunLog, log, &piece);
  if (ErrorReason(read) == "LOG_NOT_FOUND") read = absl::OkStatus();
  answers.push_back({"ReadRunLog", read});
  v1::WatchEventsRequest watch;
  watch.set_name(name);
  const auto context = client.Context();
  const auto stream = client.runs().WatchEvents(context.get(), watch);
  v1::WatchEventsResponse message;
  const bool came = stream->Read(&message);
  // A stream that is refused has ended by itself.
  if (came) context->TryCancel();
  const grpc::Status ended = stream->Finish();
  answers.push_back({"WatchEvents", came ? absl::OkStatus() : FromGrpc(ended)});
  v1::ReadMetricsRequest metrics;
  metrics.set_name(name);
  const auto metrics_context = client.Context();
  const auto numbers = client.runs().ReadMetrics(metrics_context.get(), metrics);
  v1::ReadMetricsResponse some;
  while (numbers->Read(&some)) {
  }
  answers.push_back({"ReadMetrics", FromGrpc(numbers->Finish())});
  return answers;
}

size_t ListedRuns(TestClient& client, const std::vector<std::string>& names) {
  v1::ListRunsRequest request;
  for (const std::string& name : names) request.add_names(name);
  v1::ListRunsResponse response;
  const absl::Status status =
      CallFor(client, client.runs(), &v1::RunService::Stub::ListRuns, request, &response);
  EXPECT_TRUE(status.ok()) << status;
  return static_cast<size_t>(response.runs_size());
}

std::string Replaced(std::string text, const std::string& what, const std::string& by) {
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + by.size())) {
    text.replace(at, what.size(), by);
  }
  return text;
}

// The same error with one name put for another.
absl::Status Renamed(const absl::Status& status, const std::string& from, const std::string& to) {
  google::rpc::Status proto = ToProto(status);
  proto.set_message(Replaced(proto.message(), from, to));
  for (auto& detail : *proto.mutable_details()) {
    detail.set_value(Replaced(detail.value(), from, to));
  }
  return FromProto(proto);
}

class OwnershipTest : public ::testing::Test {
 protected:
  OwnershipTest() : server_(installation_.StartDaemon()) {
    TestClient ann = Client("ann@example.com", "user");
    v1::CreateRunRequest request = ValidRequest(installation_);
    request.set_run_id("anns-run");
    const auto run = ann.Create(request);
    EXPECT_TRUE(run.ok()) << run.status();
    name_ = run->name();
    uid_ = run->uid();
  }

  // With a token of its own each time, so that nothing of it is remembered.
  TestClient Client(const std::string& email, const std::string& role,
                    const std::string& workspace = "default") {
    return TestClient(server_->listen(), installation_.Token(email, role, workspace));
  }

  // All that `client` may do with the run is read it.
  void ExpectSees(TestClient client) {
    for (const std::string& name : {name_, uid_, std::string("anns-run")}) {
      for (const Answer& answer : ReadEverything(client, name)) {
        EXPECT_TRUE(answer.status.ok()) << answer.call << " " << name << ": " << answer.status;
      }
      EXPECT_EQ(ListedRuns(client, {name}), 1u);
    }
    EXPECT_EQ(ListedRuns(client, {}), 1u);
  }

  // The run is not there for `client`, in the very words of one that never was.
  void ExpectDoesNotSee(TestClient client) {
    const std::string absent_uid = "0190163d-8694-739b-aea5-966c26f8ad91";
    for (const auto& [name, absent] : std::vector<std::pair<std::string, std::string>>{
             {name_, "workspaces/default/runs/anns-nun"},
             {"anns-run", "anns-nun"},
             {"workspaces/-/runs/anns-run", "workspaces/-/runs/anns-nun"},
             {uid_, absent_uid}}) {
      SCOPED_TRACE(name);
      const std::string last = name.substr(name.rfind('/') + 1);
      const std::string absent_last = absent.substr(absent.rfind('/') + 1);
      const auto foreign_answers = ReadEverything(client, name);
      const auto absent_answers = ReadEverything(client, absent);
      for (size_t i = 0; i < foreign_answers.size(); ++i) {
        const absl::Status& status = foreign_answers[i].status;
        EXPECT_EQ(status.code(), absl::StatusCode::kNotFound) << foreign_answers[i].call;
        EXPECT_EQ(ErrorReason(status), "RUN_NOT_FOUND");
        // Code, message and details.
        EXPECT_EQ(Renamed(status, last, absent_last), absent_answers[i].status);
      }
      EXPECT_EQ(ListedRuns(client, {name}), 0u);
    }
    EXPECT_EQ(ListedRuns(client, {}), 0u);
  }

  // Its cancel touches nothing.
  void ExpectCannotCancel(TestClient client) {
    for (const std::string& name : {name_, uid_, std::string("anns-run")}) {
      const auto canceled = client.Cancel(name);
      ASSERT_TRUE(canceled.ok()) << canceled.status();
      EXPECT_EQ(ErrorReason(FromProto(canceled->results(0).status())), "RUN_NOT_FOUND");
      EXPECT_FALSE(canceled->results(0).has_run());
    }
    EXPECT_EQ(installation_.Sql("select state from runs where name = 'anns-run'"), "PENDING");
  }

  // Nor does it change or delete it: it is not there for `client` to change, whether or not it is
  // seen.
  void ExpectCannotChange(TestClient client) {
    const std::string before = installation_.Sql("select r::text from runs r");
    for (const std::string& name : {name_, uid_, std::string("anns-run")}) {
      v1::UpdateRunRequest update;
      update.mutable_run()->set_name(name);
      (*update.mutable_run()->mutable_labels())["a"] = "b";
      update.mutable_update_mask()->add_paths("labels");
      v1::Run run;
      EXPECT_EQ(ErrorReason(
                    CallFor(client, client.runs(), &v1::RunService::Stub::UpdateRun, update, &run)),
                "RUN_NOT_FOUND");
      v1::DeleteRunRequest remove;
      remove.set_name(name);
      google::protobuf::Empty empty;
      EXPECT_EQ(ErrorReason(CallFor(client, client.runs(), &v1::RunService::Stub::DeleteRun, remove,
                                    &empty)),
                "RUN_NOT_FOUND");
    }
    v1::CancelRunsRequest cancel;
    cancel.set_experiment("/Users/ann@example.com/anns-run");
    v1::CancelRunsResponse canceled;
    EXPECT_EQ(ErrorReason(CallFor(client, client.runs(), &v1::RunService::Stub::CancelRuns, cancel,
                                  &canceled)),
              "EXPERIMENT_NOT_FOUND");
    EXPECT_EQ(installation_.Sql("select r::text from runs r"), before);
  }

  TestInstallation installation_;
  std::unique_ptr<Server> server_;
  std::string name_, uid_;
};

TEST_F(OwnershipTest, ARunIsItsOwnersAndItsWorkspacesAdmins) {
  ExpectSees(Client("ann@example.com", "user"));
  ExpectSees(Client("ann@example.com", "reader"));
  ExpectSees(Client("ada@example.com", "admin"));
  ExpectDoesNotSee(Client("bob@example.com", "user"));
  ExpectDoesNotSee(Client("bob@example.com", "reader"));
  ExpectCannotCancel(Client("bob@example.com", "user"));
  ExpectCannotChange(Client("bob@example.com", "user"));
  const auto canceled = Client("ada@example.com", "admin").Cancel(name_);
  ASSERT_TRUE(canceled.ok()) << canceled.status();
  EXPECT_EQ(canceled->results(0).run().state(), v1::Run::STOPPED);
}

TEST_F(OwnershipTest, ASharedWorkspaceIsReadByAllOfItAndChangedByItsOwners) {
  installation_.Sql("update workspaces set share_runs = true where name = 'default'");
  ExpectSees(Client("bob@example.com", "user"));
  ExpectSees(Client("bob@example.com", "reader"));
  ExpectCannotCancel(Client("bob@example.com", "user"));
  ExpectCannotChange(Client("bob@example.com", "user"));
  // What one shares with the workspace does not count against the others.
  EXPECT_TRUE(Client("bob@example.com", "user").Create(ValidRequest(installation_)).ok());
}

TEST_F(OwnershipTest, AnotherWorkspaceIsAnotherWorld) {
  installation_.Sql("update workspaces set share_runs = true");
  for (const char* role : {"reader", "user", "admin"}) {
    ExpectDoesNotSee(Client("ann@example.com", role, "other"));
  }
  ExpectCannotCancel(Client("ann@example.com", "admin", "other"));
  ExpectCannotChange(Client("ann@example.com", "admin", "other"));
  // Names are of their workspace, and so is the quota of a principal.
  v1::CreateRunRequest request = ValidRequest(installation_);
  request.set_run_id("anns-run");
  const auto theirs = Client("ann@example.com", "user", "other").Create(request);
  ASSERT_TRUE(theirs.ok()) << theirs.status();
  EXPECT_EQ(theirs->name(), "workspaces/other/runs/anns-run");
  EXPECT_EQ(installation_.Sql("select string_agg(active::text, ',') from owners where active > 0"),
            "1,1");
}

TEST_F(OwnershipTest, ANameThatIsTakenIsRefusedAlikeWhoeverHasIt) {
  v1::CreateRunRequest request = ValidRequest(installation_);
  request.set_run_id("anns-run");
  const absl::Status own = Client("ann@example.com", "user").Create(request).status();
  const absl::Status foreign = Client("bob@example.com", "user").Create(request).status();
  EXPECT_EQ(own.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(own, foreign);
}

}  // namespace
}  // namespace finetuned
