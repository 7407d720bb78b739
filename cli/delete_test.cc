// `run delete`.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

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
using ::testing::StartsWith;

// Runs `a`, `b` and `c` have ended; `live` has not; `bobs` can be read and not deleted.
class Delete : public App {
 protected:
  void SetUp() override {
    App::SetUp();
    server_.get_run = [this](const v1::GetRunRequest& request, v1::Run* run) {
      if (present_.count(request.name()) == 0) return NotFound(request.name());
      *run = TestRun(request.name(), v1::Run::COMPLETED);
      return absl::OkStatus();
    };
    server_.delete_run = [this](const v1::DeleteRunRequest& request, google::protobuf::Empty*) {
      return DeleteNow(request.name());
    };
    server_.list_runs = [](const v1::ListRunsRequest&, v1::ListRunsResponse*) {
      return absl::OkStatus();
    };
  }

  static absl::Status NotFound(const std::string& name) {
    return MakeError(absl::StatusCode::kNotFound, "RUN_NOT_FOUND", "there is no run " + name);
  }

  absl::Status DeleteNow(const std::string& name) {
    calls_.push_back(name);
    if (name == "live") {
      return MakeError(absl::StatusCode::kFailedPrecondition, "RUN_NOT_TERMINAL",
                       "the run is RUNNING");
    }
    if (name == "bobs" || present_.erase(name) == 0) return NotFound(name);
    return absl::OkStatus();
  }

  // The first call ends without an answer; `done` says whether it did what it was to do.
  void LoseTheFirstAnswer(bool done) {
    server_.delete_run = [this, done, lost = false](const v1::DeleteRunRequest& request,
                                                    google::protobuf::Empty*) mutable {
      if (lost) return DeleteNow(request.name());
      lost = true;
      if (done) DeleteNow(request.name()).IgnoreError();
      return absl::UnavailableError("connection reset");
    };
  }

  std::set<std::string> present_ = {"a", "b", "c", "live", "bobs"};
  std::vector<std::string> calls_;
};

TEST_F(Delete, SaysWhatBecameOfEachAndExitsWithTheFirstError) {
  EXPECT_EQ(Run({"run", "delete", "a", "live", "missing", "b"}), kExitConflict);
  EXPECT_EQ(Out(),
            "NAME     RESULT               MEANING\n"
            "a        DELETED              is in no listing any more\n"
            "live     FAILED_PRECONDITION  the run is RUNNING\n"
            "missing  NOT_FOUND            there is no run missing\n"
            "b        DELETED              is in no listing any more\n");
  EXPECT_EQ(Err(), "");
}

TEST_F(Delete, PrintsResultsForPrograms) {
  EXPECT_EQ(Run({"delete", "run", "a", "missing", "-o", "jsonl"}), kExitNotFound);
  EXPECT_THAT(Out(), StartsWith("{\"name\":\"a\",\"outcome\":\"DELETED\",\"status\":{\"code\":0,"
                                "\"message\":\"\",\"details\":[]}}\n"
                                "{\"name\":\"missing\",\"outcome\":\"OUTCOME_UNSPECIFIED\","
                                "\"status\":{\"code\":5,\"message\":\"there is no run missing\""));
  EXPECT_THAT(Out(), HasSubstr("RUN_NOT_FOUND"));
  Reset();
  EXPECT_EQ(Run({"run", "delete", "b", "-o", "yaml"}), 0);
  EXPECT_THAT(Out(), StartsWith("results:\n  - name: b\n    outcome: DELETED\n"));
  Reset();
  EXPECT_EQ(Run({"run", "delete", "c", "-o", "name"}), kExitUsage);
}

TEST_F(Delete, OneThatHasNotEndedIsAnErrorThatSaysWhatToDo) {
  EXPECT_EQ(Run({"run", "delete", "live"}), kExitConflict);
  EXPECT_EQ(Out(), "");
  EXPECT_THAT(Err(), AllOf(HasSubstr("error: the run is RUNNING\n"),
                           HasSubstr("why:   Only a run that has ended can be deleted.\n"),
                           HasSubstr("next:  finetune run cancel live")));
}

TEST_F(Delete, AsksOnATerminalForMoreThanOne) {
  test_->io.in_is_terminal = true;
  test_->in.str("\n");
  EXPECT_EQ(Run({"run", "delete", "a", "b"}), kExitFailure);
  EXPECT_THAT(Err(), AllOf(HasSubstr("  a\n  b\nDelete these 2 runs for good? [y/N]"),
                           HasSubstr("Nothing was deleted.")));
  EXPECT_THAT(calls_, IsEmpty());
  Reset();
  test_->io.in_is_terminal = true;
  test_->in.str("y\n");
  EXPECT_EQ(Run({"run", "delete", "a", "b"}), 0);
  EXPECT_THAT(calls_, ElementsAre("a", "b"));
  Reset();
  test_->io.in_is_terminal = true;
  EXPECT_EQ(Run({"run", "delete", "c"}), 0);
  EXPECT_EQ(Run({"run", "delete", "x", "y", "--yes"}), kExitNotFound);
  EXPECT_THAT(Err(), Not(HasSubstr("[y/N]")));
}

TEST_F(Delete, CountsAsDoneWhenOnlyTheAnswerWasLost) {
  LoseTheFirstAnswer(/*done=*/true);
  EXPECT_EQ(Run({"run", "delete", "a"}), 0);
  EXPECT_THAT(Out(), HasSubstr("a     DELETED"));
  EXPECT_THAT(calls_, ElementsAre("a", "a"));
}

TEST_F(Delete, IsRepeatedWhenItWasNotDone) {
  LoseTheFirstAnswer(/*done=*/false);
  EXPECT_EQ(Run({"run", "delete", "a"}), 0);
  EXPECT_EQ(present_.count("a"), 0u);
}

TEST_F(Delete, AWrongNameIsNoneThatWasDeletedBefore) {
  LoseTheFirstAnswer(/*done=*/false);
  EXPECT_EQ(Run({"run", "delete", "missing"}), kExitNotFound);
  EXPECT_THAT(Err(), HasSubstr("There is no run `missing`."));
}

TEST_F(Delete, ARunOfSomebodyElseIsNoneThatWasDeletedBefore) {
  LoseTheFirstAnswer(/*done=*/false);
  EXPECT_EQ(Run({"run", "delete", "bobs"}), kExitNotFound);
  EXPECT_EQ(present_.count("bobs"), 1u);
}

TEST_F(Delete, StopsWhereTheServerRefusesEverythingAndShowsWhatItDid) {
  server_.delete_run = [this](const v1::DeleteRunRequest& request, google::protobuf::Empty*) {
    if (request.name() == "b") return absl::UnauthenticatedError("expired");
    return DeleteNow(request.name());
  };
  EXPECT_EQ(Run({"run", "delete", "a", "b", "c"}), kExitAuth);
  EXPECT_THAT(Out(), AllOf(HasSubstr("a     DELETED"), Not(HasSubstr("c "))));
  EXPECT_THAT(Err(), HasSubstr("Stopped at b; 1 of 3 runs were tried before it."));
  EXPECT_THAT(calls_, ElementsAre("a"));
}

}  // namespace
}  // namespace finetuned::cli
