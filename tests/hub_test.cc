// What runs may name of a hub, where the daemon's configuration allows it. The daemon fetches
// nothing; trainer/hub_test.py does.

#include <algorithm>
#include <functional>

#include <gmock/gmock.h>

#include "daemon/daemon_config.h"
#include "tests/bad_input.h"
#include "tests/lifecycle.h"

namespace finetuned {
namespace {

class HubTest : public ::testing::Test {
 protected:
  // A daemon that lets runs name these models, and data sets.
  void Start(const std::vector<std::string>& models, bool datasets) {
    server_ = installation_.StartDaemon([&](config::v1::DaemonConfig* config) {
      for (const std::string& model : models) config->mutable_hub()->add_models(model);
      config->mutable_hub()->set_datasets(datasets);
    });
    user_ = std::make_unique<TestClient>(server_->listen(),
                                         installation_.Token("ann@example.com", "user"));
  }

  absl::Status Try(const std::function<void(v1::RunSpec*)>& change) {
    v1::CreateRunRequest request = ValidRequest(installation_);
    request.set_validate_only(true);
    change(request.mutable_run()->mutable_spec());
    return user_->Create(request).status();
  }
  absl::Status TryModel(const std::string& model) {
    return Try([&](v1::RunSpec* spec) { spec->set_model(model); });
  }
  absl::Status TryData(const std::string& path) {
    return Try([&](v1::RunSpec* spec) {
      spec->set_train_data_path(path);
      spec->set_eval_data_path(path);
    });
  }

  TestInstallation installation_;
  std::unique_ptr<Server> server_;
  std::unique_ptr<TestClient> user_;
};

TEST_F(HubTest, NothingOfAHubIsTakenUnlessTheConfigurationSaysSo) {
  Start({}, false);
  EXPECT_EQ(ErrorReason(TryModel("meta-llama/Llama-3.2-1B")), "MODEL_NOT_ALLOWED");
  EXPECT_EQ(ErrorReason(TryData("squad/train")), "BAD_URI");
}

TEST_F(HubTest, ModelsAreTakenByNameOrByTheirOrganization) {
  Start({"meta-llama/*", "mistralai/Mistral-7B-v0.1"}, false);
  EXPECT_TRUE(TryModel("meta-llama/Llama-3.2-1B").ok());
  EXPECT_TRUE(TryModel("mistralai/Mistral-7B-v0.1").ok());
  for (const char* other : {"mistralai/Mistral-7B-v0.2", "meta-llama2/x", "other/x"}) {
    EXPECT_EQ(ErrorReason(TryModel(other)), "MODEL_NOT_ALLOWED") << other;
  }
  for (const char* bad : {"meta-llama/*", "meta-llama/../x", "meta-llama/"}) {
    EXPECT_EQ(ErrorReason(TryModel(bad)), "BAD_MODEL") << bad;
  }
  v1::ListModelsResponse models;
  ASSERT_TRUE(CallFor(*user_, user_->models(), &v1::ModelService::Stub::ListModels,
                      v1::ListModelsRequest(), &models)
                  .ok());
  std::vector<std::string> names;
  for (const v1::Model& model : models.models()) names.push_back(model.name());
  EXPECT_THAT(names, ::testing::Contains("mistralai/Mistral-7B-v0.1"));
  EXPECT_TRUE(std::is_sorted(names.begin(), names.end()));
}

TEST_F(HubTest, DataSetsAreTakenByTheirForm) {
  Start({}, true);
  for (const char* good : {"squad/train", "openai/gsm8k/test", "a/b/train_sft@main",
                           "a/b.c-d_e/train@refs/convert/parquet"}) {
    EXPECT_TRUE(TryData(good).ok()) << good << ": " << TryData(good);
  }
  for (const std::string& bad :
       {std::string("squad"), std::string("a/b/c/d"), std::string("a//train"),
        std::string("../train"), std::string("a/b/../train"), std::string("a/train.jsonl"),
        std::string(".a/train"), std::string("a/train@"), std::string("a/train@../x"),
        std::string("a/tr ain"), "a/" + Filler(101), WithNul("a/train", "x"),
        std::string("hf://a/train")}) {
    const absl::Status status = TryData(bad);
    EXPECT_EQ(ErrorReason(status), "BAD_URI") << bad << ": " << status;
    ExpectCleanError(status);
  }
  // A file stays a file.
  EXPECT_EQ(ErrorReason(TryData("/etc/passwd")), "PATH_NOT_ALLOWED");
}

TEST_F(HubTest, ConfigurationsThatCannotBeMeantAreRefused) {
  for (const char* bad : {"llama", "*", "*/x", "a/b/c", "/x", "a/", "a/b*"}) {
    config::v1::DaemonConfig config = installation_.Config();
    config.mutable_hub()->add_models(bad);
    const absl::Status status = PrepareDaemonConfig(&config);
    EXPECT_EQ(ErrorReason(status), "BAD_CONFIG") << bad;
  }
}

}  // namespace
}  // namespace finetuned
