#include "queue/event.h"

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

TEST(Event, ARunInBatchesHasNoEpoch) {
  ProgressNumbers progress;
  progress.batch = 3;
  progress.batches = 30;
  EXPECT_EQ(TrainUpdatedMessage(progress), "[batch=3/30]");
}

TEST(Event, TheEtaIsRoundedUpInTheSmallestUnitThatFits) {
  EXPECT_EQ(FormatEta(absl::ZeroDuration()), "1s");
  EXPECT_EQ(FormatEta(absl::Seconds(59)), "59s");
  EXPECT_EQ(FormatEta(absl::Seconds(60)), "1min");
  EXPECT_EQ(FormatEta(absl::Seconds(61)), "2min");
  EXPECT_EQ(FormatEta(absl::Minutes(60)), "1hr");
  EXPECT_EQ(FormatEta(absl::Hours(23) + absl::Seconds(1)), "24hr");
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
