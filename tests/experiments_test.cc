// Experiments come into being with their first run and group those a caller sees; and the smaller
// services beside them: models and workspaces.

#include <algorithm>
#include <thread>

#include <gtest/gtest.h>

#include "tests/bad_input.h"

namespace finetuned {
namespace {

class ExperimentsTest : public ::testing::Test {
 protected:
  ExperimentsTest()
      : server_(installation_.StartDaemon(
            [](config::v1::DaemonConfig* config) { config->set_active_runs_limit(200); })),
        ann_(Client("ann@example.com")),
        bob_(Client("bob@example.com")) {}

  TestClient Client(const std::string& email, const std::string& role = "user",
                    const std::string& workspace = "default") {
    return TestClient(server_->listen(), installation_.Token(email, role, workspace));
  }

  v1::Run Create(TestClient& client, const std::string& experiment,
                 const std::string& run_id = "") {
    v1::CreateRunRequest request = ValidRequest(installation_);
    request.mutable_run()->mutable_spec()->set_experiment_path(experiment);
    request.set_run_id(run_id);
    const auto run = client.Create(request);
    EXPECT_TRUE(run.ok()) << run.status();
    return run.ok() ? *run : v1::Run();
  }

  static absl::StatusOr<v1::Experiment> Get(TestClient& client, const std::string& name) {
    v1::GetExperimentRequest request;
    request.set_name(name);
    v1::Experiment experiment;
    const absl::Status status =
        CallFor(client, client.experiments(), &v1::ExperimentService::Stub::GetExperiment, request,
                &experiment);
    if (!status.ok()) return status;
    return experiment;
  }

  // The paths of all pages.
  static std::vector<std::string> Paths(TestClient& client, int page_size) {
    v1::ListExperimentsRequest request;
    request.set_page_size(page_size);
    std::vector<std::string> paths;
    do {
      v1::ListExperimentsResponse page;
      const absl::Status status =
          CallFor(client, client.experiments(), &v1::ExperimentService::Stub::ListExperiments,
                  request, &page);
      EXPECT_TRUE(status.ok()) << status;
      if (!status.ok()) break;
      for (const auto& experiment : page.experiments()) paths.push_back(experiment.path());
      request.set_page_token(page.next_page_token());
    } while (!request.page_token().empty());
    return paths;
  }

  static absl::StatusOr<v1::CancelRunsResponse> CancelExperiment(TestClient& client,
                                                                 const std::string& experiment) {
    v1::CancelRunsRequest request;
    request.set_experiment(experiment);
    v1::CancelRunsResponse response;
    const absl::Status status =
        CallFor(client, client.runs(), &v1::RunService::Stub::CancelRuns, request, &response);
    if (!status.ok()) return status;
    return response;
  }

  TestInstallation installation_;
  std::unique_ptr<Server> server_;
  TestClient ann_, bob_;
};

using Names = std::vector<std::string>;

TEST_F(ExperimentsTest, RunsOfOnePathAreOneExperiment) {
  const v1::Run first = Create(ann_, "/Shared/tune", "one");
  const v1::Run second = Create(ann_, "/Shared/tune", "two");
  const v1::Run other = Create(ann_, "/Shared/other");
  EXPECT_EQ(first.experiment(), second.experiment());
  EXPECT_NE(first.experiment(), other.experiment());
  ASSERT_TRUE(ann_.Cancel("one").ok());
  const std::string uid = first.experiment().substr(first.experiment().rfind('/') + 1);
  for (const std::string& name :
       {first.experiment(), uid, std::string("/Shared/tune"), "workspaces/-/experiments/" + uid}) {
    const auto experiment = Get(ann_, name);
    ASSERT_TRUE(experiment.ok()) << name << ": " << experiment.status();
    EXPECT_EQ(experiment->name(), first.experiment());
    EXPECT_EQ(experiment->path(), "/Shared/tune");
    EXPECT_EQ(experiment->run_count(), 2);
    EXPECT_EQ(experiment->active_count(), 1);
    EXPECT_EQ(experiment->stopped_count(), 1);
    EXPECT_EQ(experiment->completed_count() + experiment->failed_count(), 0);
    EXPECT_EQ(experiment->latest_run(), second.name());
  }
}

TEST_F(ExperimentsTest, ARunWithoutAPathHasOneOfItsOwn) {
  const v1::Run run = Create(ann_, "", "mine");
  EXPECT_EQ(run.spec().experiment_path(), "/Users/ann@example.com/mine");
  EXPECT_EQ(Get(ann_, run.experiment())->path(), run.spec().experiment_path());
}

TEST_F(ExperimentsTest, ManyCreatesAtOnceOverTwoDaemonsMakeOneExperiment) {
  const auto second = installation_.StartDaemon(
      [](config::v1::DaemonConfig* config) { config->set_active_runs_limit(200); });
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      const std::string email = "user" + std::to_string(t) + "@example.com";
      TestClient client((t % 2 == 0 ? *server_ : *second).listen(),
                        installation_.Token(email, "user"));
      for (int i = 0; i < 6; ++i) Create(client, i % 2 == 0 ? "/Shared/a" : "/Shared/b");
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(installation_.Sql("select count(*) from runs"), "48");
  EXPECT_EQ(installation_.Sql("select string_agg(path || '=' || (select count(*) from runs r where "
                              "r.experiment_id = e.experiment_id), ' ' order by path) "
                              "from experiments e"),
            "/Shared/a=24 /Shared/b=24");
}

TEST_F(ExperimentsTest, ARefusedCreateMakesNone) {
  TestClient client = Client("carl@example.com");
  installation_.Sql(
      "insert into owners (workspace_id, email, active_limit) "
      "select workspace_id, 'dora@example.com', 0 from workspaces");
  TestClient dora = Client("dora@example.com");
  v1::CreateRunRequest request = ValidRequest(installation_);
  request.mutable_run()->mutable_spec()->set_experiment_path("/Shared/never");
  EXPECT_EQ(ErrorReason(dora.Create(request).status()), "ACTIVE_RUNS_QUOTA");
  request.mutable_run()->mutable_spec()->set_training_duration("x");
  EXPECT_FALSE(client.Create(request).ok());
  EXPECT_EQ(installation_.Sql("select count(*) from experiments"), "0");
  EXPECT_EQ(installation_.Sql("select count(*) from shapes"), "0");
}

TEST_F(ExperimentsTest, ACallerSeesThoseItSeesARunIn) {
  Create(ann_, "/Shared/both", "anns");
  Create(bob_, "/Shared/both", "bobs");
  Create(ann_, "/Users/ann@example.com/own");
  Create(bob_, "/Users/bob@example.com/own");
  EXPECT_EQ(Get(ann_, "/Shared/both")->run_count(), 1);
  EXPECT_EQ(Get(ann_, "/Shared/both")->latest_run(), "workspaces/default/runs/anns");
  const absl::Status foreign = Get(ann_, "/Users/bob@example.com/own").status();
  EXPECT_EQ(ErrorReason(foreign), "EXPERIMENT_NOT_FOUND");
  EXPECT_EQ(foreign, Get(ann_, "/Users/nobody@example.com/own").status());
  TestClient ada = Client("ada@example.com", "admin");
  EXPECT_EQ(Get(ada, "/Shared/both")->run_count(), 2);
  TestClient elsewhere = Client("ann@example.com", "admin", "other");
  EXPECT_EQ(ErrorReason(Get(elsewhere, "/Shared/both").status()), "EXPERIMENT_NOT_FOUND");
  for (const int size : {1, 2, 10}) {
    EXPECT_EQ(Paths(ann_, size), (Names{"/Users/ann@example.com/own", "/Shared/both"}));
    EXPECT_EQ(Paths(ada, size),
              (Names{"/Users/bob@example.com/own", "/Users/ann@example.com/own", "/Shared/both"}));
    EXPECT_EQ(Paths(elsewhere, size), Names{});
  }
}

TEST_F(ExperimentsTest, DeletedRunsAreNotCounted) {
  Create(ann_, "/Shared/tune", "one");
  ASSERT_TRUE(ann_.Cancel("one").ok());
  v1::DeleteRunRequest request;
  request.set_name("one");
  google::protobuf::Empty empty;
  ASSERT_TRUE(CallFor(ann_, ann_.runs(), &v1::RunService::Stub::DeleteRun, request, &empty).ok());
  EXPECT_EQ(ErrorReason(Get(ann_, "/Shared/tune").status()), "EXPERIMENT_NOT_FOUND");
  EXPECT_EQ(Paths(ann_, 10), Names{});
  TestClient ada = Client("ada@example.com", "admin");
  EXPECT_EQ(Get(ada, "/Shared/tune")->run_count(), 0);
  EXPECT_EQ(Get(ada, "/Shared/tune")->latest_run(), "");
}

TEST_F(ExperimentsTest, CancelingOneStopsTheCallersRunsInItAndNoOthers) {
  for (const char* name : {"a1", "a2", "a3"}) Create(ann_, "/Shared/tune", name);
  Create(ann_, "/Shared/other", "a4");
  Create(bob_, "/Shared/tune", "b1");
  ASSERT_TRUE(ann_.Cancel("a2").ok());
  const auto canceled = CancelExperiment(ann_, "/Shared/tune");
  ASSERT_TRUE(canceled.ok()) << canceled.status();
  ASSERT_EQ(canceled->results_size(), 2);
  EXPECT_EQ(canceled->results(0).name(), "workspaces/default/runs/a1");
  EXPECT_EQ(canceled->results(1).name(), "workspaces/default/runs/a3");
  for (const auto& result : canceled->results()) {
    EXPECT_EQ(result.outcome(), v1::CancelRunsResponse::Result::STOPPED);
    EXPECT_EQ(result.run().state(), v1::Run::STOPPED);
  }
  EXPECT_FALSE(canceled->more());
  EXPECT_EQ(installation_.Sql(
                "select string_agg(name, ' ' order by name) from runs where state = 'PENDING'"),
            "a4 b1");
  // Again: there is nothing left, which is no error.
  EXPECT_EQ(CancelExperiment(ann_, "/Shared/tune")->results_size(), 0);
  EXPECT_EQ(ErrorReason(CancelExperiment(ann_, "/Shared/none").status()), "EXPERIMENT_NOT_FOUND");
}

TEST_F(ExperimentsTest, ALargeExperimentIsCanceledInSeveralCalls) {
  for (int i = 0; i < 101; ++i) Create(ann_, "/Shared/large");
  auto canceled = CancelExperiment(ann_, "/Shared/large");
  ASSERT_TRUE(canceled.ok()) << canceled.status();
  EXPECT_EQ(canceled->results_size(), 100);
  EXPECT_TRUE(canceled->more());
  canceled = CancelExperiment(ann_, "/Shared/large");
  EXPECT_EQ(canceled->results_size(), 1);
  EXPECT_FALSE(canceled->more());
}

TEST_F(ExperimentsTest, BadNamesPagesAndTokensAreRefused) {
  for (const std::string& name :
       {std::string(), std::string("x"), std::string("/"), Filler(5000), "/" + Filler(5000),
        WithNul("/a", "b"), std::string("/a\nb"), std::string("experiments/x"),
        std::string("workspaces/default/runs/x")}) {
    ExpectViolation(Get(ann_, name).status(), "name", "BAD_NAME");
  }
  const auto list = [&](const std::function<void(v1::ListExperimentsRequest*)>& change) {
    v1::ListExperimentsRequest request;
    change(&request);
    v1::ListExperimentsResponse response;
    return CallFor(ann_, ann_.experiments(), &v1::ExperimentService::Stub::ListExperiments, request,
                   &response);
  };
  ExpectViolation(list([](auto* request) { request->set_page_size(-1); }), "page_size",
                  "BAD_PAGE_SIZE");
  ExpectViolation(list([](auto* request) { request->set_parent("x"); }), "parent", "BAD_NAME");
  ExpectViolation(list([](auto* request) { request->set_page_token("x"); }), "page_token",
                  "BAD_PAGE_TOKEN");
  EXPECT_EQ(ErrorReason(list([](auto* request) { request->set_parent("workspaces/other"); })),
            "WORKSPACE_NOT_FOUND");
  // A token of the runs is none of the experiments.
  for (int i = 0; i < 2; ++i) Create(ann_, "/Shared/x");
  v1::ListRunsRequest runs;
  runs.set_page_size(1);
  v1::ListRunsResponse page;
  ASSERT_TRUE(CallFor(ann_, ann_.runs(), &v1::RunService::Stub::ListRuns, runs, &page).ok());
  ExpectViolation(list([&](auto* request) { request->set_page_token(page.next_page_token()); }),
                  "page_token", "BAD_PAGE_TOKEN");
}

TEST_F(ExperimentsTest, TheModelsAreThoseOfTheModelRoots) {
  v1::ListModelsResponse response;
  const absl::Status status = CallFor(ann_, ann_.models(), &v1::ModelService::Stub::ListModels,
                                      v1::ListModelsRequest(), &response);
  ASSERT_TRUE(status.ok()) << status;
  ASSERT_EQ(response.models_size(), 1);
  EXPECT_EQ(response.models(0).name(), "finetuned/tiny-llama");
  EXPECT_EQ(response.models(0).context_length(), 512);
}

TEST_F(ExperimentsTest, AnAdminSharesTheRunsOfItsWorkspace) {
  TestClient ada = Client("ada@example.com", "admin");
  const auto update = [&](TestClient& client, const std::string& name,
                          const std::vector<std::string>& mask) -> absl::StatusOr<v1::Workspace> {
    v1::UpdateWorkspaceRequest request;
    request.mutable_workspace()->set_name(name);
    request.mutable_workspace()->set_share_runs(true);
    for (const std::string& path : mask) request.mutable_update_mask()->add_paths(path);
    v1::Workspace workspace;
    const absl::Status status =
        CallFor(client, client.workspaces(), &v1::WorkspaceService::Stub::UpdateWorkspace, request,
                &workspace);
    if (!status.ok()) return status;
    return workspace;
  };
  ExpectViolation(update(ada, "", {"share_runs"}).status(), "workspace.name", "BAD_NAME");
  ExpectViolation(update(ada, "workspaces/default", {}).status(), "update_mask", "BAD_FIELD_MASK");
  ExpectViolation(update(ada, "workspaces/default", {"name"}).status(), "update_mask",
                  "BAD_FIELD_MASK");
  EXPECT_EQ(ErrorReason(update(ada, "workspaces/other", {"share_runs"}).status()),
            "WORKSPACE_NOT_FOUND");
  EXPECT_EQ(installation_.Sql("select bool_or(share_runs) from workspaces"), "f");
  const auto shared = update(ada, "workspaces/default", {"share_runs"});
  ASSERT_TRUE(shared.ok()) << shared.status();
  EXPECT_EQ(shared->name(), "workspaces/default");
  EXPECT_TRUE(shared->share_runs());
  Create(bob_, "/Shared/bobs", "bobs");
  // A token that a daemon has not seen yet knows at once.
  TestClient carl = Client("carl@example.com", "reader");
  EXPECT_TRUE(carl.Get("bobs").ok());
  v1::GetWorkspaceRequest get;
  get.set_name("workspaces/-");
  v1::Workspace workspace;
  ASSERT_TRUE(
      CallFor(carl, carl.workspaces(), &v1::WorkspaceService::Stub::GetWorkspace, get, &workspace)
          .ok());
  EXPECT_TRUE(workspace.share_runs());
}

}  // namespace
}  // namespace finetuned
