// `workspace get`, `workspace update` and `model list`.

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

class Workspaces : public App {
 protected:
  void SetUp() override {
    App::SetUp();
    workspace_.set_name("workspaces/w");
    *workspace_.mutable_create_time() = ToProtoTime(test_->clock.Now());
    server_.get_workspace = [this](const v1::GetWorkspaceRequest& request,
                                   v1::Workspace* workspace) {
      if (request.name() != "workspaces/-") return absl::NotFoundError("another");
      *workspace = workspace_;
      return absl::OkStatus();
    };
    server_.update_workspace = [this](const v1::UpdateWorkspaceRequest& request,
                                      v1::Workspace* workspace) {
      update_ = request;
      workspace_.set_share_runs(request.workspace().share_runs());
      *workspace_.mutable_retention() = request.workspace().retention();
      *workspace = workspace_;
      return absl::OkStatus();
    };
  }

  v1::Workspace workspace_;
  v1::UpdateWorkspaceRequest update_;
};

TEST_F(Workspaces, OnesOwnIsShown) {
  EXPECT_EQ(Run({"workspace", "get"}), 0);
  EXPECT_EQ(Out(),
            "Name:          w\n"
            "Share runs:    false: everybody sees their own runs, an admin sees all\n"
            "Events kept:   for good\n"
            "Metrics kept:  for good\n"
            "Logs kept:     for good\n"
            "Created:       2026-01-01T12:00:00Z\n");
  Reset();
  EXPECT_EQ(Run({"workspace", "get", "-o", "name"}), 0);
  EXPECT_EQ(Out(), "w\n");
}

TEST_F(Workspaces, RunsAreSharedAndNotSharedAgain) {
  EXPECT_EQ(Run({"workspace", "update", "--share-runs", "true"}), 0);
  EXPECT_THAT(Out(), HasSubstr("Share runs:    true: everybody in it sees everybody's runs\n"));
  EXPECT_THAT(Err(), HasSubstr("within 30 seconds"));
  EXPECT_EQ(update_.workspace().name(), "workspaces/-");
  EXPECT_THAT(update_.update_mask().paths(), ElementsAre("share_runs"));
  Reset();
  EXPECT_EQ(Run({"workspace", "update", "--share-runs", "false", "-o", "json"}), 0);
  EXPECT_THAT(Out(), HasSubstr("\"share_runs\": false"));
}

TEST_F(Workspaces, WhatRunsLeaveIsKeptForSoLong) {
  EXPECT_EQ(Run({"workspace", "update", "--keep-events", "90d", "--keep-logs", "1h30m",
                 "--keep-metrics", "forever"}),
            0);
  EXPECT_THAT(update_.update_mask().paths(),
              ElementsAre("retention.events_duration", "retention.metrics_duration",
                          "retention.logs_duration"));
  EXPECT_EQ(update_.workspace().retention().events_duration().seconds(), 90 * 86400);
  EXPECT_EQ(update_.workspace().retention().logs_duration().seconds(), 5400);
  EXPECT_FALSE(update_.workspace().retention().has_metrics_duration());
  EXPECT_THAT(Out(), HasSubstr("Events kept:   90d after a run's end\n"
                               "Metrics kept:  for good\n"
                               "Logs kept:     1h 30m after a run's end\n"));
  EXPECT_EQ(Err(), "");
}

TEST_F(Workspaces, AnUpdateSaysWhatItNeeds) {
  EXPECT_EQ(Run({"workspace", "update"}), kExitUsage);
  EXPECT_THAT(Err(), HasSubstr("There are --share-runs, --keep-events"));
  EXPECT_EQ(Run({"workspace", "update", "--keep-logs", "soon"}), kExitUsage);
  EXPECT_THAT(Err(), HasSubstr("--keep-logs: `soon` is not a duration"));
  EXPECT_EQ(Run({"workspace", "update", "--share-runs", "maybe"}), kExitUsage);
  EXPECT_EQ(update_.update_mask().paths_size(), 0);
}

class Models : public App {
 protected:
  void SetUp() override {
    App::SetUp();
    server_.list_models = [this](const v1::ListModelsRequest&, v1::ListModelsResponse* response) {
      *response = models_;
      return absl::OkStatus();
    };
  }

  v1::ListModelsResponse models_;
};

TEST_F(Models, AreShownWithWhatIsKnownOfThem) {
  v1::Model& llama = *models_.add_models();
  llama.set_name("meta/llama");
  llama.set_parameter_count(1235814400);
  llama.set_context_length(131072);
  llama.set_pretrained(true);
  llama.set_architecture("LlamaForCausalLM");
  llama.set_description("Small.");
  models_.add_models()->set_name("x/unknown");
  models_.add_models()->set_name("x/tiny");
  models_.mutable_models(2)->set_parameter_count(999999);
  for (const auto& words :
       std::vector<std::vector<std::string>>{{"model", "list"}, {"get", "models"}}) {
    Reset();
    EXPECT_EQ(Run(words), 0);
    EXPECT_EQ(Out(),
              "NAME        PARAMETERS  CONTEXT  PRETRAINED  ARCHITECTURE      DESCRIPTION\n"
              "meta/llama  1.24B       131072   yes         LlamaForCausalLM  Small.\n"
              "x/unknown   -           -        no          -\n"
              "x/tiny      1M          -        no          -\n");
  }
  Reset();
  EXPECT_EQ(Run({"model", "list", "-o", "name"}), 0);
  EXPECT_EQ(Out(), "meta/llama\nx/unknown\nx/tiny\n");
}

TEST_F(Models, SaysWhenThereAreNone) {
  EXPECT_EQ(Run({"model", "list"}), 0);
  EXPECT_EQ(Out(), "");
  EXPECT_THAT(Err(), HasSubstr("No model is offered"));
  Reset();
  EXPECT_EQ(Run({"model", "list", "-o", "json"}), 0);
  EXPECT_EQ(Out(), "{\n \"models\": []\n}\n");
}

}  // namespace
}  // namespace finetuned::cli
