// `run cancel`, of runs by name and of an experiment.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/status.h"
#include "cli/app_fixture.h"
#include "cli/errors.h"

namespace finetuned::cli {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class Cancel : public App {
 protected:
  void SetUp() override {
    App::SetUp();
    server_.cancel_runs = [this](const v1::CancelRunsRequest& request,
                                 v1::CancelRunsResponse* response) {
      for (const std::string& name : request.names()) {
        canceled_.push_back(name);
        auto* result = response->add_results();
        result->set_name(name);
        if (name == "missing") {
          *result->mutable_status() = ToProto(absl::NotFoundError("no such run"));
        } else {
          result->set_outcome(v1::CancelRunsResponse::Result::STOPPING);
        }
      }
      return absl::OkStatus();
    };
    server_.get_run = [](const v1::GetRunRequest& request, v1::Run* run) {
      *run = TestRun(request.name(), v1::Run::RUNNING);
      return absl::OkStatus();
    };
  }

  std::vector<std::string> canceled_;
};

TEST_F(Cancel, SaysWhatBecameOfEachAndExitsWithTheFirstError) {
  EXPECT_EQ(Run({"run", "cancel", "a", "missing"}), kExitNotFound);
  EXPECT_EQ(Out(),
            "NAME     RESULT     MEANING\n"
            "a        STOPPING   stops when its worker has ended the trainer\n"
            "missing  NOT_FOUND  no such run\n");
}

TEST_F(Cancel, AsksOnATerminalForMoreThanOne) {
  test_->io.in_is_terminal = true;
  test_->in.str("n\n");
  EXPECT_EQ(Run({"run", "cancel", "a", "b"}), kExitFailure);
  EXPECT_THAT(Err(), HasSubstr("Cancel these 2 runs for good? [y/N]"));
  EXPECT_THAT(canceled_, IsEmpty());

  Reset();
  test_->io.in_is_terminal = true;
  test_->in.str("y\n");
  EXPECT_EQ(Run({"run", "cancel", "a", "b"}), 0);
  EXPECT_THAT(canceled_, ElementsAre("a", "b"));

  Reset();
  test_->io.in_is_terminal = true;
  EXPECT_EQ(Run({"run", "cancel", "c", "d", "--yes"}), 0);
  EXPECT_EQ(Run({"stop", "run", "e"}), 0);
  EXPECT_THAT(Err(), Not(HasSubstr("[y/N]")));
  EXPECT_EQ(canceled_.size(), 5u);
}

TEST_F(Cancel, ADryRunChangesNothing) {
  EXPECT_EQ(Run({"run", "cancel", "a", "b", "--dry-run"}), 0);
  EXPECT_EQ(Out(), "a  would be stopped; it is RUNNING\nb  would be stopped; it is RUNNING\n");
  EXPECT_THAT(canceled_, IsEmpty());
}

TEST_F(Cancel, ShowsWhatWasDoneWhereALaterCallFails) {
  int calls = 0;
  const auto answer = server_.cancel_runs;
  server_.cancel_runs = [&](const v1::CancelRunsRequest& request,
                            v1::CancelRunsResponse* response) {
    return ++calls == 1 ? answer(request, response) : absl::PermissionDeniedError("no more");
  };
  std::vector<std::string> arguments = {"run", "cancel"};
  for (int i = 0; i < 101; ++i) arguments.push_back("run-" + std::to_string(i));
  EXPECT_EQ(Run(arguments), kExitAuth);
  EXPECT_THAT(Out(), AllOf(HasSubstr("run-99 "), Not(HasSubstr("run-100 "))));
}

TEST_F(Cancel, TakesNamesOrAnExperimentAndNotBoth) {
  EXPECT_EQ(Run({"run", "cancel"}), kExitUsage);
  EXPECT_THAT(Err(), HasSubstr("NAME or --experiment is required."));
  EXPECT_EQ(Run({"run", "cancel", "a", "--experiment", "/Shared/x"}), kExitUsage);
  EXPECT_EQ(Run({"run", "cancel", "--experiment", ""}), kExitUsage);
  EXPECT_THAT(canceled_, IsEmpty());
}

// An experiment whose runs stop at once.
class CancelExperiment : public App {
 protected:
  void SetUp() override {
    App::SetUp();
    server_.cancel_runs = [this](const v1::CancelRunsRequest& request,
                                 v1::CancelRunsResponse* response) {
      requests_.push_back(request);
      for (int i = 0; i < page_size_ && !waiting_.empty(); ++i) {
        auto* result = response->add_results();
        result->set_name("workspaces/w/runs/" + waiting_.front());
        result->set_outcome(v1::CancelRunsResponse::Result::STOPPED);
        waiting_.erase(waiting_.begin());
      }
      response->set_more(response->results_size() == page_size_);
      return absl::OkStatus();
    };
    server_.list_runs = [this](const v1::ListRunsRequest& request, v1::ListRunsResponse* response) {
      listed_ = request;
      for (const std::string& name : waiting_) {
        v1::Run& run = *response->add_runs();
        run = TestRun(name, v1::Run::RUNNING);
        run.set_owner(name == "b1" ? "bob@example.com" : "ann@example.com");
      }
      return absl::OkStatus();
    };
    server_.get_quota = [](const v1::GetQuotaRequest&, v1::Quota* quota) {
      quota->set_owner("ann@example.com");
      return absl::OkStatus();
    };
    server_.get_experiment = [](const v1::GetExperimentRequest& request, v1::Experiment*) {
      return request.name() == "/Shared/tune"
                 ? absl::OkStatus()
                 : MakeError(absl::StatusCode::kNotFound, "EXPERIMENT_NOT_FOUND", "none");
    };
    server_.list_experiments = [](const v1::ListExperimentsRequest&,
                                  v1::ListExperimentsResponse* response) {
      response->add_experiments()->set_path("/Shared/tune");
      return absl::OkStatus();
    };
  }

  int Cancel(std::vector<std::string> more) {
    std::vector<std::string> arguments = {"run", "cancel", "--experiment", "/Shared/tune"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return Run(arguments);
  }

  // Runs that are not terminal, and how many one call takes.
  std::vector<std::string> waiting_ = {"a1", "a2", "a3"};
  int page_size_ = 100;
  std::vector<v1::CancelRunsRequest> requests_;
  v1::ListRunsRequest listed_;
};

TEST_F(CancelExperiment, GoesOnUntilNoneIsLeft) {
  page_size_ = 2;
  EXPECT_EQ(Cancel({"--reason", "enough"}), 0);
  EXPECT_EQ(Out(),
            "NAME  RESULT   MEANING\n"
            "a1    STOPPED  is stopped\n"
            "a2    STOPPED  is stopped\n"
            "a3    STOPPED  is stopped\n");
  ASSERT_EQ(requests_.size(), 2u);
  for (const auto& request : requests_) {
    EXPECT_EQ(request.experiment(), "/Shared/tune");
    EXPECT_EQ(request.reason(), "enough");
    EXPECT_EQ(request.names_size(), 0);
  }
}

TEST_F(CancelExperiment, OneAnswerIsMadeOfAllCalls) {
  page_size_ = 2;
  EXPECT_EQ(Cancel({"-o", "json"}), 0);
  EXPECT_THAT(Out(), AllOf(HasSubstr("/a1\""), HasSubstr("/a3\""), HasSubstr("\"more\": false")));
}

TEST_F(CancelExperiment, SaysThatThereIsNone) {
  waiting_.clear();
  EXPECT_EQ(Cancel({}), 0);
  EXPECT_EQ(Out(), "");
  EXPECT_EQ(Err(), "No active runs found to cancel.\n");
  Reset();
  EXPECT_EQ(Cancel({"-o", "jsonl"}), 0);
  EXPECT_EQ(Out(), "");
  Reset();
  EXPECT_EQ(Cancel({"--dry-run"}), 0);
  EXPECT_THAT(Err(), HasSubstr("No active runs found to cancel."));
  Reset();
  test_->io.in_is_terminal = true;
  EXPECT_EQ(Cancel({}), 0);
  EXPECT_EQ(Err(), "No active runs found to cancel.\n");
}

TEST_F(CancelExperiment, OneThatIsNotThereIsAnErrorWithWhatMayHaveBeenMeant) {
  waiting_.clear();
  EXPECT_EQ(Run({"run", "cancel", "--experiment", "/Shared/tunes", "--dry-run"}), kExitNotFound);
  EXPECT_THAT(Err(), AllOf(HasSubstr("There is no experiment `/Shared/tunes`."),
                           HasSubstr("Did you mean `/Shared/tune`?"),
                           HasSubstr("next:  finetune experiment list\n")));
}

TEST_F(CancelExperiment, APersonSeesTheRunsAndIsAsked) {
  waiting_ = {"a1", "b1"};
  test_->io.in_is_terminal = true;
  test_->in.str("n\n");
  EXPECT_EQ(Cancel({}), kExitFailure);
  EXPECT_EQ(
      Err(),
      "  a1  would be stopped; it is RUNNING\n"
      "  b1  would be stopped; it is RUNNING and belongs to bob@example.com, so only an admin "
      "stops it\n"
      "Cancel these runs of experiment /Shared/tune for good? [y/N] "
      "error: Nothing was canceled.\n"
      "next:  the same command with --yes\n");
  EXPECT_THAT(requests_, IsEmpty());
  Reset();
  test_->io.in_is_terminal = true;
  test_->in.str("yes\n");
  EXPECT_EQ(Cancel({}), 0);
  EXPECT_EQ(requests_.size(), 1u);
  EXPECT_EQ(listed_.experiment(), "/Shared/tune");
  EXPECT_THAT(listed_.states(),
              ElementsAre(v1::Run::PENDING, v1::Run::QUEUED, v1::Run::STARTING, v1::Run::RUNNING,
                          v1::Run::TERMINATING, v1::Run::PAUSED));
}

TEST_F(CancelExperiment, DoesNotAskWithYes) {
  test_->io.in_is_terminal = true;
  EXPECT_EQ(Cancel({"--yes"}), 0);
  EXPECT_THAT(Err(), Not(HasSubstr("[y/N]")));
  EXPECT_EQ(requests_.size(), 1u);
}

TEST_F(CancelExperiment, ADryRunChangesNothing) {
  EXPECT_EQ(Cancel({"--dry-run"}), 0);
  EXPECT_EQ(Out(),
            "a1  would be stopped; it is RUNNING\n"
            "a2  would be stopped; it is RUNNING\n"
            "a3  would be stopped; it is RUNNING\n");
  EXPECT_EQ(Err(), "Nothing was changed (--dry-run).\n");
  EXPECT_THAT(requests_, IsEmpty());
}

TEST_F(CancelExperiment, DoesNotGoOnForEverWithTheSameRuns) {
  server_.cancel_runs = [](const v1::CancelRunsRequest&, v1::CancelRunsResponse* response) {
    auto* result = response->add_results();
    result->set_name("a1");
    result->set_outcome(v1::CancelRunsResponse::Result::STOPPING);
    response->set_more(true);
    return absl::OkStatus();
  };
  EXPECT_EQ(Cancel({}), kExitConflict);
  EXPECT_EQ(Out(),
            "NAME  RESULT    MEANING\n"
            "a1    STOPPING  stops when its worker has ended the trainer\n");
  EXPECT_THAT(Err(), HasSubstr("next:  the same command once these are STOPPED"));
}

TEST_F(CancelExperiment, SaysThatALostAnswerMayHaveStoppedMore) {
  const auto answer = server_.cancel_runs;
  server_.cancel_runs = [answer, lost = false](const v1::CancelRunsRequest& request,
                                               v1::CancelRunsResponse* response) mutable {
    const absl::Status status = answer(request, response);
    if (lost) return status;
    lost = true;
    return absl::UnavailableError("connection reset");
  };
  EXPECT_EQ(Cancel({}), 0);
  EXPECT_THAT(Err(), AllOf(HasSubstr("finetune run list --experiment /Shared/tune"),
                           Not(HasSubstr("No active runs"))));
}

}  // namespace
}  // namespace finetuned::cli
