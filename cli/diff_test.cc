#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/time.h"
#include "cli/app_fixture.h"
#include "cli/errors.h"
#include "cli/run_diff.h"

namespace finetuned::cli {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

class Diff : public App {
 protected:
  void SetUp() override {
    App::SetUp();
    for (const char* name : {"a", "b"}) {
      v1::Run& run = runs_[name];
      run = TestRun(name, v1::Run::COMPLETED, 9);
      run.mutable_spec()->set_model("org/m");
      run.mutable_spec()->set_learning_rate(1e-5);
      run.mutable_progress()->set_step(100);
      run.mutable_progress()->set_train_loss(2);
      *run.mutable_start_time() = ToProtoTime(absl::FromUnixSeconds(1000));
      *run.mutable_end_time() = ToProtoTime(absl::FromUnixSeconds(1312));
      losses_[name] = 1.5;
    }
    server_.get_run = [this](const v1::GetRunRequest& request, v1::Run* run) {
      if (runs_.count(request.name()) == 0) return absl::NotFoundError("no");
      *run = runs_[request.name()];
      return absl::OkStatus();
    };
    server_.list_checkpoints = [this](const v1::ListCheckpointsRequest& request,
                                      v1::ListCheckpointsResponse* response) {
      (*response->add_checkpoints()->mutable_metrics())["eval/loss"] = losses_[request.name()];
      response->add_checkpoints();
      return absl::OkStatus();
    };
  }

  std::map<std::string, v1::Run> runs_;
  std::map<std::string, double> losses_;
};

TEST_F(Diff, ShowsWhatDiffersInSpecLabelsAndOutcome) {
  v1::Run& b = runs_["b"];
  b.mutable_spec()->set_learning_rate(2e-5);
  b.mutable_spec()->add_eval_prompts("one");
  b.mutable_spec()->mutable_recipe()->mutable_lora()->set_rank(4);
  (*b.mutable_labels())["team"] = "x";
  b.set_state(v1::Run::FAILED);
  b.mutable_failure()->set_code("OOM");
  b.mutable_end_time()->set_seconds(1400);
  b.mutable_progress()->set_train_loss(2.5);
  losses_["b"] = 1.25;
  EXPECT_EQ(Run({"run", "diff", "a", "b"}), 0) << Err();
  EXPECT_THAT(Out(), StartsWith("FIELD                            a          b\n"
                                "spec.eval_prompts                []         [\"one\"]\n"
                                "spec.recipe.batch_size           -          0\n"));
  EXPECT_THAT(Out(), HasSubstr("spec.recipe.lora.rank            -          4\n"));
  EXPECT_THAT(Out(), EndsWith("spec.learning_rate               1e-05      2e-05\n"
                              "labels.team                      -          x\n"
                              "outcome.state                    COMPLETED  FAILED\n"
                              "outcome.failure                  -          OOM\n"
                              "outcome.duration_seconds         312        400\n"
                              "outcome.train_loss               2          2.5\n"
                              "outcome.eval_loss                1.5        1.25\n"));
  EXPECT_THAT(Out(), Not(HasSubstr("model")));
}

TEST_F(Diff, PrintsBothValuesOfEachPathAsJson) {
  runs_["b"].mutable_spec()->set_learning_rate(2e-5);
  EXPECT_EQ(Run({"run", "diff", "a", "b", "-o", "json"}), 0);
  const auto json = nlohmann::json::parse(Out());
  EXPECT_EQ(json["a"], "workspaces/w/runs/a");
  EXPECT_EQ(json["equal"], false);
  EXPECT_EQ(json["differences"].size(), 1u);
  EXPECT_EQ(json["differences"][0]["path"], "spec.learning_rate");
  EXPECT_EQ(json["differences"][0]["a"], 1e-5);
  EXPECT_EQ(json["differences"][0]["b"], 2e-5);
  Reset();
  runs_["b"].mutable_spec()->clear_learning_rate();
  EXPECT_EQ(Run({"run", "diff", "a", "b", "-o", "jsonl"}), 0);
  EXPECT_EQ(Out(), "{\"path\":\"spec.learning_rate\",\"a\":1e-05,\"b\":null}\n");
}

TEST_F(Diff, SaysThatRunsAreTheSame) {
  EXPECT_EQ(Run({"run", "diff", "a", "b"}), 0);
  EXPECT_EQ(Out(), "");
  EXPECT_THAT(Err(), HasSubstr("The runs are the same"));
  Reset();
  EXPECT_EQ(Run({"run", "diff", "a", "b", "-o", "json"}), 0);
  EXPECT_THAT(Out(), HasSubstr("\"differences\": []"));
}

TEST_F(Diff, NamesTheRunThatIsNotThere) {
  EXPECT_EQ(Run({"run", "diff", "a", "c"}), kExitNotFound);
  EXPECT_THAT(Err(), HasSubstr("There is no run `c`"));
  Reset();
  EXPECT_EQ(Run({"run", "diff", "a"}), kExitUsage);
  Reset();
  EXPECT_EQ(Run({"run", "diff", "a", "b", "-o", "name"}), kExitUsage);
}

}  // namespace
}  // namespace finetuned::cli
