#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/time.h"
#include "cli/app_fixture.h"
#include "cli/errors.h"
#include "cli/log_tail.h"

// Listings in other forms, and what is watched.

namespace finetuned::cli {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

class List : public App {
 protected:
  void SetUp() override {
    App::SetUp();
    server_.list_runs = [this](const v1::ListRunsRequest&, v1::ListRunsResponse* response) {
      ++calls_;
      if (!status_.ok()) return status_;
      for (const v1::Run& run : runs_) *response->add_runs() = run;
      return absl::OkStatus();
    };
    v1::Run run = TestRun("run-1", v1::Run::RUNNING);
    run.set_uid("u-1");
    run.set_worker("node-1");
    run.set_owner("a@example.com");
    run.mutable_spec()->set_model("org/m");
    *run.mutable_create_time() = ToProtoTime(test_->clock.Now() - absl::Minutes(5));
    runs_ = {run};
  }
  // Does these one after another instead of waiting, and then presses Ctrl-C.
  void OnPauses(std::vector<std::function<void()>> steps) {
    test_->io.pause = [this, steps, next = size_t{0}](absl::Duration duration) mutable {
      test_->clock.Advance(duration);
      if (next == steps.size()) {
        test_->interrupt.Request();
      } else {
        steps[next++]();
      }
    };
  }

  std::vector<v1::Run> runs_;
  absl::Status status_;
  int calls_ = 0;
};

TEST_F(List, HasMoreColumnsOrThoseThatWereAskedFor) {
  EXPECT_EQ(Run({"run", "list", "-o", "wide"}), 0);
  EXPECT_THAT(Out(), AllOf(HasSubstr("WORKER"), HasSubstr("node-1"),
                           HasSubstr("2026-01-01T11:55:00Z"), HasSubstr("u-1")));
  Reset();
  EXPECT_EQ(Run({"run", "list", "--columns", "state,name", "--columns", "uid", "--no-headers"}), 0);
  EXPECT_EQ(Out(), "RUNNING  run-1  u-1\n");
  Reset();
  EXPECT_EQ(Run({"get", "runs", "-o", "csv", "--columns", "name,started"}), 0);
  EXPECT_EQ(Out(), "name,started\r\nrun-1,\r\n");
  Reset();
  runs_.clear();
  EXPECT_EQ(Run({"list", "-o", "csv", "--columns", "name"}), 0);
  EXPECT_EQ(Out(), "name\r\n");
  EXPECT_THAT(Err(), HasSubstr("No runs."));
}

TEST_F(List, SaysWhichColumnsThereAreAndSendsNothing) {
  for (const auto& [words, sentence] :
       std::vector<std::pair<std::vector<std::string>, std::string>>{
           {{"run", "list", "--columns", "nmae"}, "no column `nmae`; there are name, state, model"},
           {{"worker", "list", "--columns", "x"}, "there are name, state, runs, capacity"},
           {{"experiment", "list", "--columns", "x"}, "there are path, runs"},
           {{"model", "list", "--columns", "x"}, "there are name, parameters"},
           {{"model", "registered", "--columns", "x"}, "there are name, version"},
           {{"run", "events", "a", "--columns", "x"}, "there are seq, time"},
           {{"run", "checkpoints", "a", "--columns", "x"}, "there are name, step"},
           {{"artifacts", "list", "a", "--columns", "x"}, "there are path, size"},
           {{"context", "list", "--columns", "x"}, "there are current, name"},
           {{"run", "list", "-o", "json", "--columns", "name"}, "are for --output table"},
           {{"run", "list", "-o", "json", "--no-headers"}, "are for --output table"},
           {{"run", "get", "a", "-o", "csv"}, "`finetune run get` is no listing"},
           {{"quota", "-o", "wide"}, "has no --output wide"},
           {{"run", "get", "a", "--columns", "x"}, "has no flag --columns"},
           {{"run", "list", "-w", "-o", "csv"}, "no --output csv"},
           {{"run", "get", "a", "-w", "-o", "json"}, "no --output json"}}) {
    Reset();
    EXPECT_EQ(Run(words), kExitUsage) << sentence;
    EXPECT_THAT(Err(), HasSubstr(sentence));
    EXPECT_EQ(Out(), "");
  }
  EXPECT_EQ(server_.authorization(), "");
}

TEST_F(List, WatchesEveryTwoSecondsAndSaysWhatChanges) {
  const absl::Time start = test_->clock.Now();
  OnPauses({[] {},
            [this] {
              runs_[0].set_state(v1::Run::COMPLETED);
              runs_.push_back(TestRun("run-2", v1::Run::PENDING));
            },
            [this] { runs_.erase(runs_.begin()); }});
  EXPECT_EQ(Run({"run", "list", "--watch"}), kExitInterrupted);
  EXPECT_EQ(Out(),
            "2026-01-01T12:00:00Z  run-1  RUNNING\n"
            "2026-01-01T12:00:04Z  run-1  COMPLETED\n"
            "2026-01-01T12:00:04Z  run-2  PENDING\n"
            "2026-01-01T12:00:06Z  run-1  no longer listed\n");
  EXPECT_EQ(calls_, 4);
  EXPECT_EQ(test_->clock.Now() - start, absl::Seconds(8));
}

TEST_F(List, WatchesInPlaceOnATerminal) {
  test_->io.out_is_terminal = true;
  test_->io.height = 10;
  OnPauses({[this] { runs_[0].set_state(v1::Run::COMPLETED); }});
  EXPECT_EQ(Run({"list", "-w", "--columns", "name,state", "--color", "never"}), kExitInterrupted);
  EXPECT_EQ(Out(),
            "\x1b[?7lNAME   STATE\nrun-1  RUNNING\n\x1b[?7h"
            "\x1b[2A\r\x1b[J\x1b[?7lNAME   STATE\nrun-1  COMPLETED\n\x1b[?7h");
}

TEST_F(List, WatchesAsJsonLines) {
  OnPauses({[] {}, [this] { runs_[0].set_state(v1::Run::FAILED); }});
  EXPECT_EQ(Run({"run", "list", "-w", "-o", "jsonl"}), kExitInterrupted);
  EXPECT_EQ(CountLines(Out()), 2);
  EXPECT_THAT(Out(), HasSubstr("\"state\":\"FAILED\""));
}

TEST_F(List, WatchesOverAnOutageButNotForEver) {
  // Each question is asked four times with waits between; only then it counts.
  int pauses = 0;
  test_->io.pause = [this, &pauses](absl::Duration duration) {
    test_->clock.Advance(duration);
    ++pauses;
    if (pauses == 1) status_ = absl::UnavailableError("restarting");
    if (pauses == 10) status_ = absl::OkStatus();
    if (pauses == 12) test_->interrupt.Request();
  };
  EXPECT_EQ(Run({"run", "list", "-w"}), kExitInterrupted);
  EXPECT_THAT(Err(), StartsWith("Lost the server; asking again ...\n"));
  EXPECT_EQ(Out(), "2026-01-01T12:00:00Z  run-1  RUNNING\n");

  Reset();
  status_ = absl::UnavailableError("gone");
  EXPECT_EQ(Run({"run", "list", "-w"}), kExitUnavailable);
  Reset();
  status_ = absl::OkStatus();
  test_->io.pause = [this](absl::Duration duration) {
    test_->clock.Advance(duration + absl::Minutes(1));
    status_ = absl::PermissionDeniedError("no more");
  };
  EXPECT_EQ(Run({"run", "list", "-w"}), kExitAuth);
}

class Get : public App {
 protected:
  void SetUp() override {
    App::SetUp();
    server_.get_run = [](const v1::GetRunRequest&, v1::Run* run) {
      *run = TestRun("run-1", v1::Run::PENDING, 3);
      return absl::OkStatus();
    };
    v1::RunEvent progress = TestEvent(5, v1::RunEvent::TRAIN_UPDATED);
    progress.mutable_progress()->set_step(1);
    progress.mutable_progress()->set_total_steps(2);
    v1::Run ended = TestRun("run-1", v1::Run::COMPLETED, 6);
    *ended.mutable_progress() = progress.progress();
    v1::WatchEventsResponse last = TestMessage({TestEvent(6, v1::RunEvent::COMPLETED)});
    *last.mutable_run() = ended;
    server_.streams = {{{TestMessage(TestRun("run-1", v1::Run::PENDING, 3)),
                         TestMessage({TestEvent(4, v1::RunEvent::STARTED), progress}), last},
                        absl::OkStatus(),
                        nullptr}};
  }
};

TEST_F(Get, WatchesTheStreamToTheRunsEnd) {
  EXPECT_EQ(Run({"run", "get", "run-1", "--watch"}), 0) << Err();
  EXPECT_EQ(Out(),
            "2026-01-01T12:00:00Z  run-1  PENDING\n"
            "2026-01-01T12:00:00Z  run-1  RUNNING\n"
            "2026-01-01T12:00:00Z  run-1  RUNNING  50%\n"
            "2026-01-01T12:00:00Z  run-1  COMPLETED  50%\n");
  EXPECT_THAT(server_.watched_after(), ElementsAre(3));
  EXPECT_EQ(test_->pauses, 0);
}

TEST_F(Get, WatchesInPlaceOnATerminal) {
  test_->io.out_is_terminal = true;
  EXPECT_EQ(Run({"get", "run", "run-1", "-w", "--color", "never"}), 0);
  EXPECT_THAT(Out(), StartsWith("\x1b[?7lName:"));
  EXPECT_THAT(Out().substr(Out().rfind("\x1b[J")), HasSubstr("COMPLETED"));
  EXPECT_THAT(Out().substr(Out().rfind("\x1b[J")), Not(HasSubstr("PENDING")));
}

TEST_F(Get, EndsAtOnceWhenTheRunHasEndedAndWithCtrlC) {
  server_.get_run = [](const v1::GetRunRequest&, v1::Run* run) {
    *run = TestRun("run-1", v1::Run::FAILED, 3);
    return absl::OkStatus();
  };
  EXPECT_EQ(Run({"run", "get", "run-1", "-w"}), 0);
  EXPECT_THAT(server_.watched_after(), ElementsAre());
  Reset();
  server_.get_run = [](const v1::GetRunRequest&, v1::Run* run) {
    *run = TestRun("run-1", v1::Run::PENDING, 3);
    return absl::OkStatus();
  };
  server_.streams = {{{TestMessage(TestRun("run-1", v1::Run::PENDING, 3))},
                      absl::OkStatus(),
                      [this] { test_->interrupt.Request(); }}};
  EXPECT_EQ(Run({"run", "get", "run-1", "-w"}), kExitInterrupted);
  EXPECT_THAT(Out(), EndsWith("PENDING\n"));
}

}  // namespace
}  // namespace finetuned::cli
