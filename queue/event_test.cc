#include "queue/event.h"

#include <limits>

#include <gtest/gtest.h>

namespace finetuned {
namespace {

TEST(Event, TheProgressMessageIsThatOfTheProductPage) {
  ProgressNumbers progress;
  progress.epoch = 1;
  progress.epochs = 1;
  progress.batch = 50;
  progress.batches = 56;
  progress.remaining = absl::Seconds(299);
  progress.train_loss = 1.7149;
  EXPECT_EQ(TrainUpdatedMessage(progress), "[epoch=1/1][batch=50/56][ETA=5min] Train loss: 1.71");
}

TEST(Event, ARunInTokensReportsTokens) {
  ProgressNumbers progress;
  progress.tokens = 500;
  progress.max_tokens = 10000;
  progress.train_loss = 2;
  EXPECT_EQ(TrainUpdatedMessage(progress), "[token=500/10000] Train loss: 2.00");
}

TEST(Event, ARunOfOneTokenReportsTokens) {
  ProgressNumbers progress;
  progress.max_tokens = 1;
  EXPECT_EQ(TrainUpdatedMessage(progress), "[token=0/1]");
}

TEST(Event, AnAnswerIsCutBetweenCharacters) {
  const std::string long_text(kShownOfAnswer - 1, 'x');
  EXPECT_EQ(PromptAnsweredMessage(long_text + "\u00e9", "yes", 3),
            "Answered after 3 batches: " + long_text + "... -> yes");
  // What has no beginning of a character is left out altogether.
  EXPECT_EQ(PromptAnsweredMessage("?", std::string(kShownOfAnswer + 1, '\x80'), 3),
            "Answered after 3 batches: ? -> ...");
}

TEST(Event, ARunInBatchesHasNoEpoch) {
  ProgressNumbers progress;
  progress.batch = 3;
  progress.batches = 30;
  EXPECT_EQ(TrainUpdatedMessage(progress), "[batch=3/30]");
}

TEST(Event, TheTimeLeftGoesByThePaceOfTheAttemptInTheRunsOwnUnit) {
  ProgressNumbers progress;
  EXPECT_FALSE(EstimateRemaining(progress).has_value()) << "no end is known";
  progress.step = 10;
  progress.total_steps = 20;
  EXPECT_FALSE(EstimateRemaining(progress).has_value()) << "there is no pace";
  progress.trained = absl::Seconds(20);
  EXPECT_FALSE(EstimateRemaining(progress).has_value()) << "nothing was trained";
  progress.trained_steps = 5;  // The other five are an earlier attempt's.
  EXPECT_EQ(EstimateRemaining(progress), absl::Seconds(40));
  progress.tokens = 901'000;
  progress.max_tokens = 1'000'000;
  EXPECT_FALSE(EstimateRemaining(progress).has_value()) << "no token was trained";
  progress.trained_tokens = 1000;
  progress.trained = absl::Seconds(1);
  EXPECT_EQ(EstimateRemaining(progress), absl::Seconds(99));
  progress.max_tokens = std::numeric_limits<int64_t>::max();
  progress.tokens = std::numeric_limits<int64_t>::min();
  progress.trained_tokens = 1;
  EXPECT_EQ(EstimateRemaining(progress), kLongestEstimate);
  progress.tokens = progress.max_tokens;
  EXPECT_EQ(EstimateRemaining(progress), absl::ZeroDuration());
}

TEST(Event, TheEtaIsRoundedUpInTheSmallestUnitThatFits) {
  EXPECT_EQ(FormatEta(absl::ZeroDuration()), "1s");
  EXPECT_EQ(FormatEta(absl::Seconds(59)), "59s");
  EXPECT_EQ(FormatEta(absl::Seconds(60)), "1min");
  EXPECT_EQ(FormatEta(absl::Seconds(61)), "2min");
  EXPECT_EQ(FormatEta(absl::Minutes(60)), "1hr");
  EXPECT_EQ(FormatEta(absl::Hours(23) + absl::Seconds(1)), "24hr");
  EXPECT_EQ(FormatEta(absl::Hours(24)), "1d");
  EXPECT_EQ(FormatEta(absl::Hours(24) + absl::Seconds(1)), "2d");
  EXPECT_EQ(FormatEta(absl::Hours(25)), "2d");
}

TEST(Event, NamesComeBackAndTerminalOnesAreNotAWorkersToReport) {
  for (const EventType type : kAllEventTypes) EXPECT_EQ(ParseEventType(Name(type)), type);
  for (const EventType type :
       {EventType::kCreated, EventType::kCompleted, EventType::kCanceled, EventType::kFailed,
        EventType::kRequeued, EventType::kStopRequested}) {
    EXPECT_FALSE(IsReportable(type)) << Name(type);
  }
}

}  // namespace
}  // namespace finetuned
