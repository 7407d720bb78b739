// `model registered` and `model get`.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/status.h"
#include "base/time.h"
#include "cli/app_fixture.h"
#include "cli/errors.h"

namespace finetuned::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;
using ::testing::StartsWith;

class RegisteredModels : public App {
 protected:
  void SetUp() override {
    App::SetUp();
    server_.list_registered_models = [this](const v1::ListRegisteredModelsRequest& request,
                                            v1::ListRegisteredModelsResponse* response) {
      pages_.emplace_back(request.page_token(), request.page_size());
      *response->add_models() = Model();
      response->set_next_page_token(pages_.size() < 2 ? "t" : "");
      return absl::OkStatus();
    };
    server_.get_registered_model = [this](const v1::GetRegisteredModelRequest& request,
                                          v1::RegisteredModel* model) {
      if (request.name() != "main.default.support") {
        return MakeError(absl::StatusCode::kNotFound, "MODEL_NOT_FOUND",
                         "there is no registered model " + request.name() + " that you may see");
      }
      *model = Model();
      v1::ModelVersion& version = *model->add_versions();
      version.set_version(2);
      version.set_run("workspaces/w/runs/run-7");
      version.set_base_model("finetuned/tiny-llama");
      version.set_checkpoint("ep1-ba50");
      version.set_path("workspaces/w/models/main.default.support/run-7");
      version.set_size_bytes(3 << 20);
      *version.mutable_create_time() = ToProtoTime(test_->clock.Now() - absl::Minutes(5));
      return absl::OkStatus();
    };
  }

  v1::RegisteredModel Model() {
    v1::RegisteredModel model;
    model.set_name("workspaces/w/registeredModels/main.default.support");
    model.set_owner("a@example.com");
    model.set_latest_version(2);
    *model.mutable_create_time() = ToProtoTime(test_->clock.Now() - absl::Hours(3));
    return model;
  }

  std::vector<std::pair<std::string, int>> pages_;
};

TEST_F(RegisteredModels, AreListedOverPagesUpToTheLimit) {
  EXPECT_EQ(Run({"model", "registered", "-o", "name"}), 0);
  EXPECT_EQ(Out(), "main.default.support\nmain.default.support\n");
  EXPECT_THAT(pages_, ElementsAre(Pair("", 100), Pair("t", 99)));
  Reset();
  pages_.clear();
  EXPECT_EQ(Run({"model", "registered", "--limit", "1"}), 0);
  EXPECT_EQ(Out(),
            "NAME                  VERSION  OWNER          AGE\n"
            "main.default.support  2        a@example.com  3h\n");
  EXPECT_EQ(Err(), "There are more; these are the newest 1. Show more with --limit.\n");
  EXPECT_EQ(Run({"model", "registered", "--limit", "0"}), kExitUsage);
}

TEST_F(RegisteredModels, SayHowOneComesIntoBeing) {
  server_.list_registered_models = [](const v1::ListRegisteredModelsRequest&,
                                      v1::ListRegisteredModelsResponse*) {
    return absl::OkStatus();
  };
  EXPECT_EQ(Run({"model", "registered"}), 0);
  EXPECT_EQ(Out(), "");
  EXPECT_THAT(Err(), HasSubstr("--register-to"));
}

TEST_F(RegisteredModels, OneHasItsVersionsWithTheirPaths) {
  EXPECT_EQ(Run({"model", "get", "main.default.support"}), 0);
  EXPECT_THAT(Out(), StartsWith("Model:           main.default.support\n"));
  EXPECT_THAT(Out(), HasSubstr("2        run-7  finetuned/tiny-llama  ep1-ba50    3 MiB  5m   "
                               "workspaces/w/models/main.default.support/run-7\n"));
  Reset();
  EXPECT_EQ(Run({"model", "get", "main.default.other"}), kExitNotFound);
  EXPECT_THAT(Err(), HasSubstr("main.default.other"));
}

TEST_F(RegisteredModels, ARunSaysWhatItHasRegistered) {
  server_.get_run = [](const v1::GetRunRequest&, v1::Run* run) {
    *run = TestRun("run-7", v1::Run::COMPLETED);
    run->mutable_spec()->set_register_to("main.default.support");
    run->set_registered_version("workspaces/w/registeredModels/main.default.support/versions/2");
    return absl::OkStatus();
  };
  EXPECT_EQ(Run({"run", "get", "run-7"}), 0);
  EXPECT_THAT(Out(), HasSubstr("workspaces/w/registeredModels/main.default.support/versions/2\n"));
}

}  // namespace
}  // namespace finetuned::cli
