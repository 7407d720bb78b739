// `events`, of many runs.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/status.h"
#include "cli/app_fixture.h"
#include "cli/errors.h"

namespace finetuned::cli {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

v1::WatchEventsResponse Piece(const std::string& cursor, const std::vector<std::string>& runs,
                              bool caught_up) {
  v1::WatchEventsResponse message;
  for (const std::string& run : runs) {
    v1::RunEvent event = TestEvent(1, v1::RunEvent::CREATED);
    event.set_run("workspaces/w/runs/" + run);
    event.set_message("Run created.");
    *message.add_events() = event;
  }
  message.set_cursor(cursor);
  message.set_caught_up(caught_up);
  return message;
}

class Events : public App {};

TEST_F(Events, WhatIsThereIsPrintedAndThenItEnds) {
  server_.streams = {
      {{Piece("c1", {"a", "b"}, false), Piece("c2", {"c"}, true)}, absl::OkStatus(), [] {}}};
  ASSERT_EQ(Run({"events"}), kExitOk) << Err();
  EXPECT_THAT(Out(), AllOf(HasSubstr("  a  CREATED  Run created.\n"), HasSubstr("  b  "),
                           HasSubstr("  c  ")));
  Reset();
  ASSERT_EQ(Run({"events", "-o", "jsonl", "--type", "created,train-updated", "--user", "a@b.de"}),
            kExitOk)
      << Err();
  EXPECT_THAT(Out(), HasSubstr("\"run\":\"workspaces/w/runs/c\""));
}

// Each event comes once, over a break and over a subscriber that was too slow.
TEST_F(Events, FollowsOverBreaks) {
  server_.streams = {
      {{Piece("c1", {"a"}, true)}, absl::UnavailableError("gone"), nullptr},
      {{Piece("c2", {"b"}, true)}, absl::AbortedError("too slow"), nullptr},
      {{Piece("c3", {"c"}, true)}, absl::PermissionDeniedError("not any more"), nullptr}};
  EXPECT_NE(Run({"events", "--follow"}), kExitOk);
  for (const char* run : {"  a  ", "  b  ", "  c  "}) {
    const size_t at = Out().find(run);
    EXPECT_NE(at, std::string::npos) << run;
    EXPECT_EQ(Out().find(run, at + 1), std::string::npos) << run;
  }
  EXPECT_THAT(Err(), AllOf(HasSubstr("Lost the server (gone)"), HasSubstr("not any more")));
}

TEST_F(Events, GoesOnBehindWhatIsPastItsRetentionAndSaysSo) {
  server_.streams = {{{},
                      MakeError(absl::StatusCode::kOutOfRange, "CURSOR_EXPIRED", "dropped",
                                {{"earliest_cursor", "c9"}}),
                      nullptr},
                     {{Piece("c10", {"kept"}, true)}, absl::OkStatus(), [] {}}};
  ASSERT_EQ(Run({"events", "--cursor", "c1"}), kExitOk) << Err();
  EXPECT_THAT(Out(), HasSubstr("  kept  "));
  EXPECT_THAT(Err(), HasSubstr("past their retention"));
}

TEST_F(Events, WrongInputIsToldBeforeACall) {
  EXPECT_EQ(Run({"events", "--type", "finished"}), kExitUsage);
  EXPECT_THAT(Err(), AllOf(HasSubstr("no event type `finished`"), HasSubstr("TRAIN_UPDATED")));
  EXPECT_EQ(Run({"events", "--new"}), kExitUsage);
  EXPECT_THAT(Err(), HasSubstr("--follow"));
  EXPECT_EQ(Run({"events", "-f", "--new", "--cursor", "x"}), kExitUsage);
  EXPECT_EQ(Run({"events", "-o", "csv"}), kExitUsage);
  EXPECT_THAT(Err(), Not(HasSubstr("Lost")));
  EXPECT_TRUE(server_.watched_after().empty());
}

}  // namespace
}  // namespace finetuned::cli
