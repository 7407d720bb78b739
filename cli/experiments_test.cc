// `experiment list` and `experiment get`, and the filters of `run list` that go with them.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/status.h"
#include "base/time.h"
#include "cli/app_fixture.h"
#include "cli/errors.h"

namespace finetuned::cli {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;
using ::testing::StartsWith;
using ::testing::UnorderedElementsAre;

class Experiments : public App {
 protected:
  void SetUp() override {
    App::SetUp();
    server_.list_experiments = [this](const v1::ListExperimentsRequest& request,
                                      v1::ListExperimentsResponse* response) {
      pages_.emplace_back(request.page_token(), request.page_size());
      *response->add_experiments() = Tune();
      response->set_next_page_token(pages_.size() < 3 ? "t" + std::to_string(pages_.size()) : "");
      return absl::OkStatus();
    };
    server_.get_experiment = [this](const v1::GetExperimentRequest& request,
                                    v1::Experiment* experiment) {
      if (request.name() != "/Shared/tune") {
        return MakeError(absl::StatusCode::kNotFound, "EXPERIMENT_NOT_FOUND", "none");
      }
      *experiment = Tune();
      return absl::OkStatus();
    };
  }

  v1::Experiment Tune() {
    v1::Experiment experiment;
    experiment.set_name("workspaces/w/experiments/u-1");
    experiment.set_path(path_);
    experiment.set_run_count(7);
    experiment.set_active_count(1);
    experiment.set_paused_count(2);
    experiment.set_completed_count(3);
    experiment.set_stopped_count(1);
    experiment.set_latest_run("workspaces/w/runs/run-7");
    *experiment.mutable_create_time() = ToProtoTime(test_->clock.Now() - absl::Hours(3));
    *experiment.mutable_latest_run_create_time() =
        ToProtoTime(test_->clock.Now() - absl::Minutes(5));
    return experiment;
  }

  std::string path_ = "/Shared/tune";
  std::vector<std::pair<std::string, int>> pages_;
};

TEST_F(Experiments, AreListedOverPagesUpToTheLimit) {
  EXPECT_EQ(Run({"experiment", "list", "--limit", "2", "-o", "name"}), 0);
  EXPECT_EQ(Out(), "/Shared/tune\n/Shared/tune\n");
  EXPECT_THAT(pages_, ElementsAre(Pair("", 2), Pair("t1", 1)));
  Reset();
  pages_.clear();
  EXPECT_EQ(Run({"experiment", "list", "-o", "jsonl"}), 0);
  EXPECT_THAT(pages_, ElementsAre(Pair("", 100), Pair("t1", 99), Pair("t2", 98)));
  EXPECT_THAT(Out(), StartsWith("{\"name\":\"workspaces/w/experiments/u-1\","));
  EXPECT_EQ(Run({"experiment", "list", "--limit", "0"}), kExitUsage);
}

TEST_F(Experiments, AreShownAsATable) {
  for (const auto& words :
       std::vector<std::vector<std::string>>{{"experiment", "list"}, {"get", "experiments"}}) {
    Reset();
    pages_ = {{}, {}};
    EXPECT_EQ(Run(words), 0);
    EXPECT_EQ(Out(),
              "PATH          RUNS  ACTIVE  PAUSED  COMPLETED  FAILED  STOPPED  AGE  LATEST RUN\n"
              "/Shared/tune  7     1       2       3          0       1        3h   run-7\n");
    EXPECT_EQ(Err(), "");
  }
}

TEST_F(Experiments, SayWhenThereAreMoreOrNone) {
  EXPECT_EQ(Run({"experiment", "list", "--limit", "1"}), 0);
  EXPECT_EQ(Err(), "There are more; these are the newest 1. Show more with --limit.\n");
  Reset();
  server_.list_experiments = [](const v1::ListExperimentsRequest&, v1::ListExperimentsResponse*) {
    return absl::OkStatus();
  };
  EXPECT_EQ(Run({"experiment", "list"}), 0);
  EXPECT_EQ(Out(), "");
  EXPECT_THAT(Err(), StartsWith("No experiments."));
  Reset();
  EXPECT_EQ(Run({"experiment", "list", "-o", "json"}), 0);
  EXPECT_EQ(Out(), "{\n \"experiments\": [],\n \"next_page_token\": \"\"\n}\n");
}

TEST_F(Experiments, OneIsAPage) {
  EXPECT_EQ(Run({"experiment", "get", "/Shared/tune"}), 0);
  EXPECT_EQ(Out(),
            "Path:        /Shared/tune\n"
            "Name:        workspaces/w/experiments/u-1\n"
            "Runs:        7: 1 active, 2 paused, 3 completed, 1 stopped\n"
            "Created:     2026-01-01T09:00:00Z (3h ago)\n"
            "Latest run:  run-7, created 2026-01-01T11:55:00Z (5m ago)\n"
            "Next:        finetune run list --experiment /Shared/tune\n"
            "             finetune run cancel --experiment /Shared/tune\n");
  Reset();
  EXPECT_EQ(Run({"get", "experiment", "/Shared/tune", "-o", "name"}), 0);
  EXPECT_EQ(Out(), "/Shared/tune\n");
  Reset();
  EXPECT_EQ(Run({"experiment", "get", "/Shared/tune", "-o", "yaml"}), 0);
  EXPECT_THAT(Out(), HasSubstr("path: \"/Shared/tune\"\n"));
}

// A path is chosen by whoever creates a run; what it names is copied into shells.
TEST_F(Experiments, APathIsQuotedInACommandToCopy) {
  path_ = "/Shared/it's; rm -rf ~";
  EXPECT_EQ(Run({"experiment", "get", "/Shared/tune"}), 0);
  EXPECT_THAT(Out(), HasSubstr("finetune run list --experiment '/Shared/it'\\''s; rm -rf ~'\n"));
}

TEST_F(Experiments, OneThatIsNotThereIsAnErrorWithWhatMayHaveBeenMeant) {
  EXPECT_EQ(Run({"experiment", "get", "/Shared/tone"}), kExitNotFound);
  EXPECT_EQ(Err(),
            "error: There is no experiment `/Shared/tone`.\n"
            "  none\n"
            "  Did you mean `/Shared/tune`?\n"
            "why:   No run that you see is in it; it comes into being with its first run.\n"
            "next:  finetune experiment list\n");
}

TEST_F(Experiments, FilterAndOrderRuns) {
  v1::ListRunsRequest sent;
  server_.list_runs = [&sent](const v1::ListRunsRequest& request, v1::ListRunsResponse* response) {
    sent = request;
    *response->add_runs() = TestRun("run-1", v1::Run::RUNNING);
    response->set_next_page_token("t");
    return absl::OkStatus();
  };
  EXPECT_EQ(Run({"run", "list", "--user", "a@x,b@x", "--user", "c@x", "--experiment", "/Shared/a b",
                 "--label", "k=v, w", "--label", "l=", "--oldest-first", "--limit", "1"}),
            0);
  EXPECT_THAT(sent.user_emails(), ElementsAre("a@x", "b@x", "c@x"));
  EXPECT_EQ(sent.experiment(), "/Shared/a b");
  EXPECT_THAT(sent.labels(), UnorderedElementsAre(Pair("k", "v, w"), Pair("l", "")));
  EXPECT_EQ(sent.order_by(), "create_time");
  EXPECT_THAT(Err(), HasSubstr("these are the oldest 1."));
  Reset();
  EXPECT_EQ(Run({"run", "list", "--limit", "1"}), 0);
  EXPECT_EQ(sent.order_by(), "");
  EXPECT_THAT(Err(), HasSubstr("these are the newest 1."));
  EXPECT_EQ(Run({"run", "list", "--label", "k"}), kExitUsage);
  EXPECT_EQ(Run({"run", "list", "--experiment", ""}), kExitUsage);
}

TEST_F(Experiments, AnEmptyListingSaysWhetherAFilterMadeItSo) {
  server_.list_runs = [](const v1::ListRunsRequest&, v1::ListRunsResponse*) {
    return absl::OkStatus();
  };
  EXPECT_EQ(Run({"run", "list"}), 0);
  EXPECT_THAT(Err(), HasSubstr("No runs. Create one"));
  for (const auto& filter : std::vector<std::vector<std::string>>{
           {"--user", "a@x"}, {"--experiment", "/Shared/x"}, {"--label", "k=v"}}) {
    Reset();
    EXPECT_EQ(Run({"run", "list", filter[0], filter[1]}), 0);
    EXPECT_THAT(Err(), HasSubstr("leave out a filter")) << filter[0];
  }
}

}  // namespace
}  // namespace finetuned::cli
