// All that can come of one run in a small world, and some of what can in a larger one.

#include <cstdlib>

#include <gtest/gtest.h>

#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "tests/faults/model.h"

namespace finetuned {
namespace {

constexpr int64_t kNoLimit = 50'000'000;

std::string Told(const ModelReport& report) {
  return report.violation + " after\n  " + absl::StrJoin(report.trace, "\n  ");
}

class ModelTest : public ::testing::TestWithParam<ModelBounds> {};

TEST_P(ModelTest, EveryWorldWithinTheBoundsKeepsThePromises) {
  const ModelReport report = ExploreModel(ModelWorld(), GetParam(), kNoLimit);
  EXPECT_EQ(report.violation, "") << Told(report);
  // Many, or the world has stopped to turn.
  EXPECT_GT(report.states, 10'000);
  RecordProperty("states", static_cast<int>(report.states));
  printf("%lld worlds, %lld steps\n", static_cast<long long>(report.states),
         static_cast<long long>(report.steps));
}

ModelBounds Bounds(int attempts, int expiries, int restarts, int duplicates, int cancels,
                   int pauses, size_t messages) {
  return {attempts, expiries, restarts, duplicates, cancels, pauses, messages};
}

INSTANTIATE_TEST_SUITE_P(Losses, ModelTest, ::testing::Values(Bounds(2, 1, 0, 0, 0, 0, 1)));
INSTANTIATE_TEST_SUITE_P(Restarts, ModelTest, ::testing::Values(Bounds(1, 1, 1, 0, 0, 0, 1)));
INSTANTIATE_TEST_SUITE_P(Cancels, ModelTest, ::testing::Values(Bounds(1, 1, 0, 1, 1, 0, 1)));
INSTANTIATE_TEST_SUITE_P(Pauses, ModelTest, ::testing::Values(Bounds(1, 1, 0, 0, 1, 1, 1)));
INSTANTIATE_TEST_SUITE_P(Overtaking, ModelTest, ::testing::Values(Bounds(1, 1, 0, 1, 0, 0, 2)));

// MODEL_BOUNDS="2 2 1 1 1 1 2", in the order of ModelBounds: as far as there is time and memory.
TEST(ModelSearch, AsFarAsTheEnvironmentSays) {
  const char* text = std::getenv("MODEL_BOUNDS");
  if (text == nullptr) GTEST_SKIP() << "MODEL_BOUNDS is not set";
  const std::vector<std::string> words = absl::StrSplit(text, ' ');
  ASSERT_EQ(words.size(), 7u);
  std::vector<int> n;
  for (const std::string& word : words) n.push_back(std::stoi(word));
  const ModelReport report =
      ExploreModel(ModelWorld(), Bounds(n[0], n[1], n[2], n[3], n[4], n[5], n[6]), kNoLimit);
  EXPECT_EQ(report.violation, "") << Told(report);
  printf("%lld worlds, %lld steps\n", static_cast<long long>(report.states),
         static_cast<long long>(report.steps));
}

TEST(ModelWalks, LargerWorldsKeepThemToo) {
  ModelBounds bounds = Bounds(7, 5, 4, 4, 1, 2, 4);
  const char* seed = std::getenv("SEED");
  const char* walks = std::getenv("WALKS");
  const ModelReport report =
      WalkModel(ModelWorld(), bounds, seed ? std::strtoull(seed, nullptr, 10) : 1,
                walks ? std::atoi(walks) : 2'000, 200);
  EXPECT_EQ(report.violation, "") << Told(report);
}

// The checks find what is wrong, and the way to it is short.
class MistakeTest : public ::testing::TestWithParam<std::pair<ModelMistake, const char*>> {};

TEST_P(MistakeTest, IsFound) {
  const auto& [mistake, violation] = GetParam();
  const ModelReport report =
      ExploreModel(ModelWorld(mistake),
                   mistake == ModelMistake::kNothingExpires ? Bounds(1, 0, 1, 0, 0, 0, 1)
                                                            : Bounds(2, 1, 1, 1, 1, 0, 1),
                   kNoLimit);
  EXPECT_EQ(report.violation, violation) << Told(report);
  EXPECT_LE(report.trace.size(), 20u) << Told(report);
}

INSTANTIATE_TEST_SUITE_P(
    All, MistakeTest,
    ::testing::Values(
        std::pair{ModelMistake::kUnfencedReports,
                  "a report of an attempt was stored that is not current"},
        std::pair{ModelMistake::kReaperTrustsItsLook, "a lease was taken that had been renewed"},
        std::pair{ModelMistake::kUnfencedEnd,
                  "an attempt was ended by a session that does not hold it"},
        std::pair{ModelMistake::kCancelForgotten, "a cancel that was acknowledged is lost"},
        std::pair{ModelMistake::kEpochUsedAgain, "an epoch was granted twice"},
        std::pair{ModelMistake::kNothingExpires, "the run can never end"}));

}  // namespace
}  // namespace finetuned
