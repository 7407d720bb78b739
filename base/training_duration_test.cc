#include "base/training_duration.h"

#include <gtest/gtest.h>

namespace finetuned {
namespace {

TEST(TrainingDuration, ReadsEpochsBatchesAndTokens) {
  EXPECT_EQ(ParseTrainingDuration("1ep")->value, 1);
  EXPECT_EQ(ParseTrainingDuration("30ba")->unit, TrainingDuration::Unit::kBatches);
  EXPECT_EQ(ParseTrainingDuration("999999999999999tok")->value, 999999999999999);
}

TEST(TrainingDuration, RefusesWhatATrainerWouldReadDifferently) {
  for (const char* text : {"",
                           "1",
                           "ep",
                           "0ep",
                           "-1ep",
                           "1.5ba",
                           "1e3ep",
                           "nanep",
                           "infep",
                           "1_000tok",
                           "１ep",
                           " 1ep",
                           "1ep ",
                           "1EP",
                           "1epoch",
                           "1ep1ba",
                           "99999999999999999999tok",
                           "1sec",
                           "0.5dur",
                           "01ep",
                           "+1ep"}) {
    EXPECT_FALSE(ParseTrainingDuration(text).has_value()) << text;
  }
}

}  // namespace
}  // namespace finetuned
