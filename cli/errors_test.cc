#include "cli/errors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/status.h"

namespace finetuned::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

ErrorContext Connected() {
  ErrorContext context;
  context.server = "127.0.0.1:7070";
  context.token_sent = true;
  return context;
}

TEST(ExitCodeOf, GivesEachKindOfErrorItsNumber) {
  EXPECT_EQ(ExitCodeOf(absl::OkStatus()), 0);
  EXPECT_EQ(ExitCodeOf(absl::InternalError("")), 1);
  EXPECT_EQ(ExitCodeOf(UsageError("")), 2);
  EXPECT_EQ(ExitCodeOf(absl::NotFoundError("")), 3);
  EXPECT_EQ(ExitCodeOf(absl::UnauthenticatedError("")), 4);
  EXPECT_EQ(ExitCodeOf(absl::PermissionDeniedError("")), 4);
  EXPECT_EQ(ExitCodeOf(absl::AlreadyExistsError("")), 5);
  EXPECT_EQ(ExitCodeOf(absl::ResourceExhaustedError("")), 5);
  EXPECT_EQ(ExitCodeOf(absl::FailedPreconditionError("")), 5);
  EXPECT_EQ(ExitCodeOf(absl::UnavailableError("")), 6);
  EXPECT_EQ(ExitCodeOf(absl::DeadlineExceededError("")), 6);
  EXPECT_EQ(ExitCodeOf(absl::InvalidArgumentError("")), 65);
  EXPECT_EQ(ExitCodeOf(absl::OutOfRangeError("")), 65);
  EXPECT_EQ(ExitCodeOf(InterruptedError()), 130);
}

TEST(RenderError, SaysWhereNobodyAnsweredAndHowToStart) {
  EXPECT_EQ(RenderError(absl::UnavailableError("connection refused"), Connected()),
            "error: No answer from the server at 127.0.0.1:7070.\n"
            "  connection refused\n"
            "why:   Nothing listens there, or the network lost the connection.\n"
            "next:  finetuned dev   (starts a server on this machine), or finetune context list\n");
}

TEST(RenderError, ListsEveryViolationWithItsField) {
  const absl::Status status =
      InvalidArgument({{"run.spec.model", "is required", "REQUIRED"},
                       {"run.spec.training_duration", "must be like 1ep", "BAD_DURATION"}});
  const std::string text = RenderError(status, Connected());
  EXPECT_THAT(text, HasSubstr("\n  run.spec.model: is required\n"));
  EXPECT_THAT(text, HasSubstr("\n  run.spec.training_duration: must be like 1ep\n"));
}

TEST(RenderError, NamesTheRunsThatHoldTheQuota) {
  absl::Status status = MakeError(absl::StatusCode::kResourceExhausted, "ACTIVE_RUNS_QUOTA",
                                  "You have 2 of 2 active runs.",
                                  {{"limit", "2"}, {"usage", "2"}, {"runs", "run-a,run-b"}});
  google::rpc::QuotaFailure failure;
  failure.add_violations()->set_subject("user:a@example.com");
  failure.mutable_violations(0)->set_description("active runs");
  AddDetail(status, failure);
  const std::string text = RenderError(status, Connected());
  EXPECT_THAT(text, HasSubstr("  user:a@example.com: active runs\n"));
  EXPECT_THAT(text, HasSubstr("  2 of 2 active runs\n"));
  EXPECT_THAT(text, HasSubstr("  held by run-a\n  held by run-b\n"));
  EXPECT_THAT(text, HasSubstr("next:  finetune quota"));
}

TEST(RenderError, SuggestsNamesForARunThatIsNotThere) {
  ErrorContext context = Connected();
  context.run = "run-7f4";
  context.suggestions = {"run-7f3"};
  const std::string text = RenderError(absl::NotFoundError(""), context);
  EXPECT_THAT(text, HasSubstr("There is no run `run-7f4`.\n"));
  EXPECT_THAT(text, HasSubstr("Did you mean `run-7f3`?\n"));
}

TEST(RenderError, SaysWhatHelpsWhereAStateOrAnEtagDoesNotAllowIt) {
  ErrorContext context = Connected();
  context.run = "run-1";
  const auto text = [&](absl::StatusCode code, const char* reason) {
    return RenderError(MakeError(code, reason, "no"), context);
  };
  EXPECT_THAT(text(absl::StatusCode::kFailedPrecondition, "RUN_NOT_TERMINAL"),
              HasSubstr("next:  finetune run cancel run-1, and delete it once it is STOPPED\n"));
  EXPECT_THAT(text(absl::StatusCode::kFailedPrecondition, "RUN_TERMINAL"),
              HasSubstr("next:  finetune run clone run-1"));
  EXPECT_THAT(text(absl::StatusCode::kAborted, "ETAG_MISMATCH"),
              HasSubstr("next:  finetune run get run-1 -o json"));
  context.run = "a;b";
  EXPECT_THAT(text(absl::StatusCode::kAborted, "ETAG_MISMATCH"),
              HasSubstr("finetune run get 'a;b' -o json"));
}

TEST(RenderError, ARefusalPointsToTheHelpOfTheCommand) {
  ErrorContext context = Connected();
  context.command = "finetune run list";
  EXPECT_THAT(RenderError(InvalidArgument({{"labels", "is bad", "BAD"}}), context),
              HasSubstr("next:  finetune run list --help"));
}

TEST(RenderError, TellsAMissingTokenFromABadOne) {
  ErrorContext context = Connected();
  EXPECT_THAT(RenderError(absl::UnauthenticatedError("x"), context),
              HasSubstr("does not accept the token"));
  context.token_sent = false;
  EXPECT_THAT(RenderError(absl::UnauthenticatedError("x"), context),
              HasSubstr("No token was sent"));
}

TEST(RenderError, EscapesWhatTheServerSays) {
  const std::string text = RenderError(absl::InternalError("\x1b[2J\x07"), Connected());
  EXPECT_THAT(text, HasSubstr("\\x1b[2J\\x07"));
  EXPECT_THAT(text, Not(HasSubstr("\x1b")));
}

TEST(NearNames, FindsNamesAtADistanceOfTwoNearestFirst) {
  EXPECT_THAT(NearNames("run-7f4", {"other", "run-7ff4", "run-7", "run-7f3", "run-7f4"}),
              ElementsAre("run-7ff4", "run-7f3", "run-7"));
  EXPECT_THAT(NearNames("abc", {"xyz", "abcdef"}), ElementsAre());
}

}  // namespace
}  // namespace finetuned::cli
