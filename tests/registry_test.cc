// Completed runs register their weights as versions of models, whose names belong to whoever named
// them first.

#include <thread>

#include "tests/bad_input.h"
#include "tests/lifecycle.h"

namespace finetuned {
namespace {

class RegistryTest : public LifecycleTest {
 protected:
  RegistryTest() : bob_(server_->listen(), installation_.Token("bob@example.com", "user")) {}

  v1::CreateRunRequest Request(const std::string& register_to, const std::string& run_id = "") {
    v1::CreateRunRequest request = ValidRequest(installation_);
    request.mutable_run()->mutable_spec()->set_register_to(register_to);
    request.set_run_id(run_id);
    return request;
  }

  v1::AttemptRef Lease(const v1::CreateRunRequest& request) {
    const auto run = user_.Create(request);
    EXPECT_TRUE(run.ok()) << run.status();
    if (!run.ok()) return {};
    name_ = run->name();
    worker_.held.clear();
    return LeaseAgain();
  }

  static v1::AttemptEnd Finished(const std::string& checkpoint) {
    v1::AttemptEnd end = Exit(0, true);
    end.mutable_model()->set_checkpoint(checkpoint);
    end.mutable_model()->set_size_bytes(123);
    end.mutable_model()->set_manifest_sha256(std::string(64, 'a'));
    return end;
  }

  void Complete(const v1::AttemptRef& attempt, const v1::AttemptEnd& end) {
    const auto reported = worker_.Report(
        attempt, 1,
        {EventOfType(v1::RunEvent::STARTED), EventOfType(v1::RunEvent::TRAIN_FINISHED)});
    ASSERT_TRUE(reported.ok()) << reported.status();
    const auto completed = worker_.Complete(attempt, end, 2);
    ASSERT_TRUE(completed.ok()) << completed.status();
    EXPECT_EQ(completed->results(0).status().code(), 0)
        << completed->results(0).status().ShortDebugString();
  }

  absl::StatusOr<v1::RegisteredModel> Get(TestClient& client, const std::string& name) {
    v1::GetRegisteredModelRequest request;
    request.set_name(name);
    v1::RegisteredModel model;
    const absl::Status status = CallFor(
        client, client.models(), &v1::ModelService::Stub::GetRegisteredModel, request, &model);
    if (!status.ok()) return status;
    return model;
  }

  // The names of all pages, of one model each.
  std::vector<std::string> List(TestClient& client) {
    v1::ListRegisteredModelsRequest request;
    request.set_page_size(1);
    std::vector<std::string> names;
    do {
      v1::ListRegisteredModelsResponse page;
      const absl::Status status = CallFor(
          client, client.models(), &v1::ModelService::Stub::ListRegisteredModels, request, &page);
      EXPECT_TRUE(status.ok()) << status;
      if (!status.ok()) break;
      for (const auto& model : page.models()) names.push_back(model.name());
      request.set_page_token(page.next_page_token());
    } while (!request.page_token().empty());
    return names;
  }

  TestClient bob_;
};

TEST_F(RegistryTest, ACompletedRunRegistersTheNextVersion) {
  ASSERT_TRUE(worker_.Open().ok());
  for (int version = 1; version <= 2; ++version) {
    const std::string run = "run-" + std::to_string(version);
    const v1::AttemptRef attempt = Lease(Request("main.default.support", run));
    EXPECT_EQ(lease_.register_path(), "workspaces/default/models/main.default.support/" + run);
    if (version == 1) {
      EXPECT_EQ(ErrorReason(Get(user_, "main.default.support").status()), "MODEL_NOT_FOUND");
    }
    Complete(attempt, Finished("ep1-ba50"));
    EXPECT_EQ(Run().state(), v1::Run::COMPLETED);
    EXPECT_EQ(Run().registered_version(),
              "workspaces/default/registeredModels/main.default.support/versions/" +
                  std::to_string(version));
  }
  for (const char* name :
       {"main.default.support", "workspaces/default/registeredModels/main.default.support",
        "workspaces/-/registeredModels/main.default.support"}) {
    const auto model = Get(user_, name);
    ASSERT_TRUE(model.ok()) << model.status();
    EXPECT_EQ(model->owner(), "ann@example.com");
    EXPECT_EQ(model->latest_version(), 2);
    ASSERT_EQ(model->versions_size(), 2);
    EXPECT_EQ(model->versions(0).version(), 2);
    EXPECT_EQ(model->versions(0).run(), "workspaces/default/runs/run-2");
    EXPECT_EQ(model->versions(1).path(), "workspaces/default/models/main.default.support/run-1");
    EXPECT_EQ(model->versions(1).checkpoint(), "ep1-ba50");
    EXPECT_EQ(model->versions(1).size_bytes(), 123);
    EXPECT_EQ(model->versions(1).base_model(), "finetuned/tiny-llama");
  }
}

TEST_F(RegistryTest, AModelThatIsNotNamedIsNamedLikeTheRun) {
  const auto run = user_.Create(Request("main.default", "my-run"));
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_EQ(run->spec().register_to(), "main.default.my-run");
  // As long as allowed without the name of the run.
  const auto refused = user_.Create(Request("c." + std::string(250, 's'), "other"));
  EXPECT_EQ(Violations(refused.status())[0].field, "run.spec.register_to");
}

TEST_F(RegistryTest, ANameBelongsToWhoeverNamedItFirst) {
  ASSERT_TRUE(user_.Create(Request("main.default.support")).ok());
  const std::string runs = installation_.Sql("select count(*) from runs");
  for (const bool validate_only : {false, true}) {
    v1::CreateRunRequest request = Request("main.default.support");
    request.set_validate_only(validate_only);
    const auto refused = bob_.Create(request);
    EXPECT_EQ(refused.status().code(), absl::StatusCode::kPermissionDenied);
    EXPECT_EQ(ErrorReason(refused.status()), "MODEL_NOT_YOURS");
    ExpectCleanError(refused.status());
  }
  EXPECT_EQ(installation_.Sql("select count(*) from runs"), runs);
  EXPECT_EQ(installation_.Sql("select active from owners where email = 'bob@example.com'"), "0");
  EXPECT_TRUE(bob_.Create(Request("main.default.other")).ok());
  // Another workspace has its own names.
  TestClient elsewhere(server_->listen(), installation_.Token("bob@example.com", "user", "other"));
  EXPECT_TRUE(elsewhere.Create(Request("main.default.support")).ok());
}

TEST_F(RegistryTest, OfManyWhoNameItAtOnceOneHasIt) {
  const auto second = installation_.StartDaemon();
  constexpr int kOwners = 12;
  std::vector<absl::StatusOr<v1::Run>> runs(kOwners, absl::UnknownError("not called"));
  std::vector<std::thread> threads;
  for (int i = 0; i < kOwners; ++i) {
    const std::string token = installation_.Token("u" + std::to_string(i) + "@example.com", "user");
    threads.emplace_back([&, i, token] {
      TestClient client((i % 2 == 0 ? *server_ : *second).listen(), token);
      runs[i] = client.Create(Request("main.default.wanted"));
    });
  }
  for (std::thread& thread : threads) thread.join();
  int admitted = 0;
  for (const auto& run : runs) {
    if (run.ok()) {
      ++admitted;
    } else {
      EXPECT_EQ(ErrorReason(run.status()), "MODEL_NOT_YOURS") << run.status();
    }
  }
  EXPECT_EQ(admitted, 1);
  EXPECT_EQ(installation_.Sql("select count(*) from runs"), "1");
  EXPECT_EQ(installation_.Sql("select sum(active) from owners"), "1");
}

TEST_F(RegistryTest, AnEndWithoutTheWeightsIsTriedAgain) {
  ASSERT_TRUE(worker_.Open().ok());
  const v1::AttemptRef attempt = Lease(Request("main.default.support"));
  Complete(attempt, Exit(0, true));
  EXPECT_EQ(Run().state(), v1::Run::PENDING);
  EXPECT_NE(Run().state_reason().find("final weights"), std::string::npos) << Run().state_reason();
  worker_.held.clear();
  Complete(LeaseAgain(), Finished("ep1-ba50"));
  EXPECT_EQ(Run().state(), v1::Run::COMPLETED);
  EXPECT_EQ(Get(user_, "main.default.support")->latest_version(), 1);
}

TEST_F(RegistryTest, ACanceledRunRegistersNothing) {
  ASSERT_TRUE(worker_.Open().ok());
  const v1::AttemptRef attempt = Lease(Request("main.default.support"));
  ASSERT_TRUE(user_.Cancel(name_).ok());
  Complete(attempt, Finished("ep1-ba50"));
  EXPECT_EQ(Run().state(), v1::Run::STOPPED);
  EXPECT_EQ(Run().registered_version(), "");
  EXPECT_EQ(installation_.Sql("select count(*) from model_versions"), "0");
  // As docs/schema.md tells an operator to free the name.
  EXPECT_EQ(ErrorReason(bob_.Create(Request("main.default.support")).status()), "MODEL_NOT_YOURS");
  installation_.Sql(
      "update runs set registered_model_id = null from registered_models m where "
      "registered_model_id = m.model_id and m.name = 'main.default.support' and m.last_version = 0 "
      "and end_time is not null");
  installation_.Sql(
      "delete from registered_models where name = 'main.default.support' and last_version = 0");
  EXPECT_TRUE(bob_.Create(Request("main.default.support")).ok());
}

TEST_F(RegistryTest, AreSeenByTheirOwnersAndWhereTheWorkspaceSharesRuns) {
  ASSERT_TRUE(worker_.Open().ok());
  for (const std::string model : {"a.b.one", "a.b.two", "a.b.none"}) {
    const v1::AttemptRef attempt = Lease(Request(model));
    if (model != "a.b.none") Complete(attempt, Finished("ep1-ba1"));
  }
  const std::vector<std::string> both = {"workspaces/default/registeredModels/a.b.two",
                                         "workspaces/default/registeredModels/a.b.one"};
  EXPECT_EQ(List(user_), both);
  EXPECT_EQ(List(bob_), std::vector<std::string>());
  EXPECT_EQ(ErrorReason(Get(bob_, "a.b.one").status()), "MODEL_NOT_FOUND");
  TestClient admin(server_->listen(), installation_.Token("root@example.com", "admin"));
  EXPECT_EQ(List(admin), both);
  EXPECT_TRUE(Get(admin, "a.b.one").ok());
  TestClient elsewhere(server_->listen(), installation_.Token("eve@example.com", "admin", "other"));
  EXPECT_EQ(List(elsewhere), std::vector<std::string>());
  for (const char* name : {"a.b.one", "workspaces/default/registeredModels/a.b.one"}) {
    EXPECT_EQ(ErrorReason(Get(elsewhere, name).status()), "MODEL_NOT_FOUND");
  }
}

TEST_F(RegistryTest, BadNamesAreRefused) {
  for (const std::string& name :
       {std::string(), std::string("a.b"), std::string("a.b.c.d"), std::string("a..c"),
        std::string("workspaces/default/runs/a.b.c"), std::string("a.b.") + Filler(300),
        std::string("a.b.c\n"), WithNul("a.b.c", "d")}) {
    const auto refused = Get(user_, name);
    ExpectViolation(refused.status(), "name", "BAD_NAME");
    ExpectCleanError(refused.status());
  }
}

}  // namespace
}  // namespace finetuned
