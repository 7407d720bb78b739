#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "base/uuid.h"
#include "cli/app_fixture.h"
#include "cli/errors.h"

// `run create -f` and `run clone`.

namespace finetuned::cli {
namespace {

using ::testing::HasSubstr;

class Create : public App {
 protected:
  void SetUp() override {
    App::SetUp();
    server_.create_run = [this](const v1::CreateRunRequest& request, v1::Run* run) {
      sent_ = request;
      ++creates_;
      *run = TestRun("new", v1::Run::PENDING);
      return absl::OkStatus();
    };
  }
  void Write(const std::string& name, const std::string& text) {
    std::ofstream(folder_ + "/" + name) << text;
  }

  v1::CreateRunRequest sent_;
  int creates_ = 0;
};

TEST_F(Create, SendsWhatTheFileSaysAndFlagsWin) {
  Write("run.yaml",
        "name: a\nmodel: org/m\ntrain_data_path: train.jsonl\neval_prompts: [x]\n"
        "labels: {team: a, kept: b}\nrecipe: {lora: {rank: 4}, packing: true}\n"
        "scheduling: {max_run_time: 2h}\n");
  EXPECT_EQ(Run({"run", "create", "-f", folder_ + "/run.yaml", "--model", "org/other", "--label",
                 "team=z", "--eval-prompt", "y", "--no-lora", "--no-packing", "--max-run-time",
                 "none", "-o", "name"}),
            0)
      << Err();
  EXPECT_EQ(sent_.run_id(), "a");
  EXPECT_TRUE(IsUuid(sent_.request_id()));
  const v1::RunSpec& spec = sent_.run().spec();
  EXPECT_EQ(spec.model(), "org/other");
  EXPECT_EQ(spec.train_data_path(), folder_ + "/train.jsonl");
  EXPECT_EQ(spec.eval_prompts_size(), 1);
  EXPECT_EQ(spec.eval_prompts(0), "y");
  EXPECT_FALSE(spec.recipe().has_lora());
  EXPECT_FALSE(spec.recipe().packing());
  EXPECT_FALSE(spec.scheduling().has_max_run_time());
  EXPECT_EQ(sent_.run().labels().at("team"), "z");
  EXPECT_EQ(sent_.run().labels().at("kept"), "b");
}

TEST_F(Create, ReadsStandardInputBesideTheCurrentFolder) {
  test_->in.str("model: m\ntrain_data_path: d\n");
  EXPECT_EQ(Run({"run", "create", "-f", "-"}), 0) << Err();
  EXPECT_EQ(sent_.run().spec().train_data_path(), "/home/a/d");
}

TEST_F(Create, TakesBackWhatGetHasPrinted) {
  v1::Run run = TestRun("old", v1::Run::FAILED, 7);
  run.mutable_spec()->set_model("org/m");
  run.mutable_spec()->set_train_data_path("/d");
  run.mutable_spec()->mutable_compute()->set_memory_bytes(int64_t{8} << 30);
  run.mutable_spec()->mutable_scheduling()->set_priority(v1::Scheduling::LOW);
  server_.get_run = [&run](const v1::GetRunRequest&, v1::Run* response) {
    *response = run;
    return absl::OkStatus();
  };
  EXPECT_EQ(Run({"run", "get", "old", "-o", "yaml"}), 0);
  const std::string yaml = Out();
  Reset();
  test_->in.str(yaml);
  EXPECT_EQ(Run({"run", "create", "-f", "-", "-o", "name"}), 0) << Err();
  EXPECT_EQ(sent_.run().spec().DebugString(), run.spec().DebugString());
  EXPECT_EQ(sent_.run_id(), "");
  EXPECT_THAT(Err(), HasSubstr("note: Passed over, because the server sets it: name, uid, "));
}

TEST_F(Create, SendsNothingOfAFileWithMistakes) {
  Write("run.yaml", "modle: m\ntrian_data_path: d\n");
  Write("short.yaml", "model: m\n");
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases = {
      {{"-f", folder_ + "/run.yaml"}, "did you mean `model`?"},
      {{"-f", folder_ + "/run.yaml"}, "did you mean `train_data_path`?"},
      {{"-f", folder_ + "/short.yaml"}, "has no `train_data_path`, and --train-data is not given"},
      {{"-f", folder_ + "/none.yaml"}, "cannot be read"},
      {{"-f", folder_}, "cannot be read"},
      {{}, "--model is required."},
      {{"--model", "m", "--train-data", "x", "--no-lora", "--lora-rank", "4"}, "--no-lora"},
  };
  for (const auto& [flags, sentence] : cases) {
    Reset();
    std::vector<std::string> words = {"run", "create"};
    words.insert(words.end(), flags.begin(), flags.end());
    EXPECT_EQ(Run(words), kExitUsage) << sentence;
    EXPECT_THAT(Err(), HasSubstr(sentence));
    EXPECT_EQ(Out(), "");
  }
  EXPECT_EQ(creates_, 0);
}

class Clone : public Create {
 protected:
  void SetUp() override {
    Create::SetUp();
    old_ = TestRun("old", v1::Run::COMPLETED, 9);
    old_.set_uid("u");
    old_.set_owner("a@example.com");
    old_.set_registered_version("workspaces/w/registeredModels/main.default.old/versions/1");
    (*old_.mutable_labels())["team"] = "a";
    v1::RunSpec& spec = *old_.mutable_spec();
    spec.set_model("org/m");
    spec.set_train_data_path("/d");
    spec.set_learning_rate(1e-5);
    spec.set_eval_data_path("/e");
    spec.set_experiment_path("/Users/a@example.com/old");
    spec.set_register_to("main.default.old");
    spec.mutable_recipe()->mutable_lora()->set_rank(4);
    server_.get_run = [this](const v1::GetRunRequest& request, v1::Run* run) {
      if (request.name() != "old") return absl::NotFoundError("no");
      *run = old_;
      return absl::OkStatus();
    };
  }

  v1::Run old_;
};

TEST_F(Clone, CopiesTheSpecAndTheLabelsAndNothingOfTheRun) {
  EXPECT_EQ(Run({"run", "clone", "old", "-o", "name"}), 0) << Err();
  EXPECT_EQ(Out(), "new\n");
  v1::CreateRunRequest expected;
  *expected.mutable_run()->mutable_spec() = old_.spec();
  // Both were made of the old run's name.
  expected.mutable_run()->mutable_spec()->clear_experiment_path();
  expected.mutable_run()->mutable_spec()->set_register_to("main.default");
  *expected.mutable_run()->mutable_labels() = old_.labels();
  expected.set_request_id(sent_.request_id());
  EXPECT_TRUE(IsUuid(sent_.request_id()));
  EXPECT_EQ(sent_.DebugString(), expected.DebugString());
}

TEST_F(Clone, KeepsNamesThatAreNotMadeOfTheRunsOwn) {
  old_.mutable_spec()->set_experiment_path("/Shared/tune");
  old_.mutable_spec()->set_register_to("main.default.mine");
  EXPECT_EQ(Run({"run", "clone", "old"}), 0);
  EXPECT_EQ(sent_.run().spec().experiment_path(), "/Shared/tune");
  EXPECT_EQ(sent_.run().spec().register_to(), "main.default.mine");
}

TEST_F(Clone, FlagsWinAndAnEmptyOneIsTheServersDefault) {
  EXPECT_EQ(Run({"run", "clone", "old", "--learning-rate", "2e-5", "--name", "b", "--eval-data", "",
                 "--register-to", "", "--no-lora", "--label", "note=c"}),
            0)
      << Err();
  EXPECT_EQ(sent_.run_id(), "b");
  EXPECT_EQ(sent_.run().spec().learning_rate(), 2e-5);
  EXPECT_EQ(sent_.run().spec().eval_data_path(), "");
  EXPECT_EQ(sent_.run().spec().register_to(), "");
  EXPECT_FALSE(sent_.run().spec().recipe().has_lora());
  EXPECT_EQ(sent_.run().labels().at("team"), "a");
  EXPECT_EQ(sent_.run().labels().at("note"), "c");
}

TEST_F(Clone, SaysThatThereIsNoSuchRun) {
  server_.list_runs = [](const v1::ListRunsRequest&, v1::ListRunsResponse* response) {
    *response->add_runs() = TestRun("old", v1::Run::RUNNING);
    return absl::OkStatus();
  };
  EXPECT_EQ(Run({"run", "clone", "olt"}), kExitNotFound);
  EXPECT_THAT(Err(), HasSubstr("Did you mean `old`?"));
  Reset();
  EXPECT_EQ(Run({"run", "clone", "old", "--task", "chatt"}), kExitUsage);
  EXPECT_EQ(creates_, 0);
}

}  // namespace
}  // namespace finetuned::cli
