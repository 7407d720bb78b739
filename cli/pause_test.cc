// `run pause` and `run resume`.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/status.h"
#include "cli/app_fixture.h"
#include "cli/errors.h"

namespace finetuned::cli {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

absl::Status NotPaused() {
  return MakeError(absl::StatusCode::kFailedPrecondition, "RUN_NOT_PAUSED",
                   "the run is PENDING: only a paused run can be resumed");
}

class Pause : public App {
 protected:
  void SetUp() override {
    App::SetUp();
    run_ = TestRun("run-1", v1::Run::RUNNING);
    server_.get_run = [this](const v1::GetRunRequest&, v1::Run* run) {
      *run = run_;
      return absl::OkStatus();
    };
  }
  v1::Run run_;
};

TEST_F(Pause, SendsTheReasonAndSaysWhenItIsPaused) {
  v1::PauseRunRequest sent;
  server_.pause_run = [&](const v1::PauseRunRequest& request, v1::Run* run) {
    sent = request;
    run_.set_state(v1::Run::TERMINATING);
    run_.set_stop_requested(v1::PAUSE);
    *run = run_;
    return absl::OkStatus();
  };
  ASSERT_EQ(Run({"run", "pause", "run-1", "--reason", "later"}), kExitOk) << Err();
  EXPECT_EQ(sent.name(), "run-1");
  EXPECT_EQ(sent.reason(), "later");
  EXPECT_THAT(Out(), AllOf(HasSubstr("TERMINATING"), HasSubstr("PAUSE")));
  EXPECT_THAT(Err(), HasSubstr("PAUSED once its trainer has saved"));
}

TEST_F(Pause, AWaitingRunIsPausedAndSaysHowItGoesOn) {
  server_.pause_run = [&](const v1::PauseRunRequest&, v1::Run* run) {
    *run = TestRun("run-1", v1::Run::PAUSED);
    return absl::OkStatus();
  };
  ASSERT_EQ(Run({"run", "pause", "run-1"}), kExitOk) << Err();
  EXPECT_THAT(Out(), AllOf(HasSubstr("PAUSED"), HasSubstr("finetune run resume run-1")));
  EXPECT_EQ(Err(), "");
}

TEST_F(Pause, RefusalsSayWhatToDo) {
  server_.pause_run = [&](const v1::PauseRunRequest&, v1::Run*) {
    return MakeError(absl::StatusCode::kResourceExhausted, "PAUSED_RUNS_QUOTA",
                     "you have 100 paused runs and may have 100");
  };
  EXPECT_EQ(Run({"run", "pause", "run-1"}), kExitConflict);
  EXPECT_THAT(Err(), HasSubstr("finetune run list --state paused"));
  Reset();
  server_.resume_run = [&](const v1::ResumeRunRequest&, v1::Run*) { return NotPaused(); };
  EXPECT_EQ(Run({"run", "resume", "run-1"}), kExitConflict);
  EXPECT_THAT(Err(), AllOf(HasSubstr("only a paused run"), HasSubstr("finetune run watch run-1")));
}

TEST_F(Pause, AResumeWhoseAnswerWasLostIsNoError) {
  int calls = 0;
  server_.resume_run = [&](const v1::ResumeRunRequest&, v1::Run*) -> absl::Status {
    if (++calls > 1) return NotPaused();
    run_.set_state(v1::Run::PENDING);
    return absl::UnavailableError("the answer is lost");
  };
  EXPECT_EQ(Run({"run", "resume", "run-1"}), kExitOk) << Err();
  EXPECT_EQ(calls, 2);
  EXPECT_THAT(Out(), HasSubstr("PENDING"));
  EXPECT_THAT(Err(), HasSubstr("answer to the first try was lost"));
}

}  // namespace
}  // namespace finetuned::cli
