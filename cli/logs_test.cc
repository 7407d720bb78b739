// `run logs`.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/time.h"
#include "cli/app_fixture.h"
#include "cli/errors.h"
#include "cli/log_tail.h"

namespace finetuned::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// A log that is served as the API says: pieces from an offset, negative ones from the end.
class Logs : public App {
 protected:
  void SetUp() override {
    App::SetUp();
    run_ = TestRun("run-1", v1::Run::COMPLETED);
    server_.get_run = [this](const v1::GetRunRequest&, v1::Run* run) {
      *run = run_;
      return absl::OkStatus();
    };
    server_.read_run_log = [this](const v1::ReadRunLogRequest& request,
                                  v1::ReadRunLogResponse* response) {
      const int64_t attempt = request.attempt() == 0 ? run_.attempt() : request.attempt();
      const auto log = logs_.find({attempt, request.stream()});
      if (log == logs_.end()) return absl::NotFoundError("no log");
      const auto size = static_cast<int64_t>(log->second.size());
      int64_t offset = request.offset();
      if (offset < 0) offset = std::max<int64_t>(0, size + offset);
      if (offset < dropped_) response->set_dropped_bytes(dropped_ - offset);
      offset = std::max(offset, dropped_);
      response->set_data(log->second.substr(static_cast<size_t>(offset), 100000));
      response->set_next_offset(offset + static_cast<int64_t>(response->data().size()));
      response->set_attempt(attempt);
      response->set_complete(complete_);
      return absl::OkStatus();
    };
  }

  v1::Run run_;
  bool complete_ = true;
  // Of the beginning of every log.
  int64_t dropped_ = 0;
  std::map<std::pair<int64_t, int>, std::string> logs_;
  static constexpr int kStderr = v1::ReadRunLogRequest::STDERR;
  static constexpr int kStdout = v1::ReadRunLogRequest::STDOUT;
};

TEST_F(Logs, WhatIsMissingIsTold) {
  logs_[{1, kStderr}] = std::string(3 << 20, 'x') + "\nlast\n";
  dropped_ = 3 << 20;
  EXPECT_EQ(Run({"run", "logs", "run-1"}), 0);
  EXPECT_EQ(Out(), "\nlast\n");
  EXPECT_THAT(Err(), HasSubstr("-- 3 MiB of the log were dropped here: it was too large --"));
}

TEST_F(Logs, IsByteForByteForAProgramAndSafeForATerminal) {
  logs_[{1, kStderr}] = "10%\r20%\x1b[2J\xff\n";
  logs_[{1, kStdout}] = "out\n";
  EXPECT_EQ(Run({"run", "logs", "run-1"}), 0);
  EXPECT_EQ(Out(), "10%\r20%\x1b[2J\xff\n");
  Reset();
  test_->io.out_is_terminal = true;
  EXPECT_EQ(Run({"logs", "run-1"}), 0);
  EXPECT_EQ(Out(), "10%\n20%\\x1b[2J\\xff\n");
  Reset();
  EXPECT_EQ(Run({"run", "logs", "run-1", "--stdout"}), 0);
  EXPECT_EQ(Out(), "out\n");
}

TEST_F(Logs, PrintsTheLastLinesHoweverLongTheyAre) {
  std::string log = "first\n";
  for (int i = 0; i < 3; ++i) log += std::string(90000, 'a' + static_cast<char>(i)) + "\n";
  logs_[{1, kStderr}] = log;
  EXPECT_EQ(Run({"run", "logs", "run-1", "--tail", "2"}), 0);
  EXPECT_EQ(Out(), std::string(90000, 'b') + "\n" + std::string(90000, 'c') + "\n");
  Reset();
  EXPECT_EQ(Run({"run", "logs", "run-1", "--tail", "10"}), 0);
  EXPECT_EQ(Out(), log);
}

TEST_F(Logs, FollowsOverAttemptsToTheEndOfTheRun) {
  run_ = TestRun("run-1", v1::Run::RUNNING);
  logs_[{1, kStderr}] = "one\n";
  complete_ = false;
  // While it waits the first attempt goes on, ends, and a second one follows.
  test_->io.pause = [this](absl::Duration) {
    switch (++test_->pauses) {
      case 1: logs_[{1, kStderr}] += "more\n"; break;
      case 2:
        complete_ = true;
        run_ = TestRun("run-1", v1::Run::COMPLETED);
        run_.set_attempt(2);
        logs_[{2, kStderr}] = "two\n";
        break;
      default: FAIL() << "waits for a run that has ended";
    }
  };
  EXPECT_EQ(Run({"run", "logs", "-f", "run-1"}), 0);
  EXPECT_EQ(Out(), "one\nmore\ntwo\n");
  EXPECT_THAT(Err(), HasSubstr("-- attempt 2 --"));
}

TEST_F(Logs, FollowsOverAnAttemptThatNeverHadALog) {
  run_ = TestRun("run-1", v1::Run::RUNNING);
  logs_[{1, kStderr}] = "one\n";
  // The second attempt is lost before its trainer wrote a line.
  test_->io.pause = [this](absl::Duration) {
    switch (++test_->pauses) {
      case 1: run_.set_attempt(3); break;
      case 2:
        run_ = TestRun("run-1", v1::Run::COMPLETED);
        run_.set_attempt(3);
        logs_[{3, kStderr}] = "three\n";
        break;
      default: FAIL() << "waits for an attempt that is over";
    }
  };
  EXPECT_EQ(Run({"run", "logs", "-f", "run-1"}), 0);
  EXPECT_EQ(Out(), "one\nthree\n");
}

TEST_F(Logs, SaysThatThereIsNoneYet) {
  run_ = TestRun("run-1", v1::Run::PENDING);
  run_.set_attempt(0);
  EXPECT_EQ(Run({"run", "logs", "run-1"}), kExitNotFound);
  EXPECT_THAT(Err(), HasSubstr("it is PENDING and no attempt has started"));
}

}  // namespace
}  // namespace finetuned::cli
