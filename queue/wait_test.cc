#include "queue/wait.h"

#include <gtest/gtest.h>

namespace finetuned {
namespace {

const Shape kNeeded{1, "", 2, 0};

TEST(Wait, EachReasonComesFromWhatTheWorkersHave) {
  EXPECT_EQ(ExplainWait(kNeeded, 1, {}).reason, WaitReason::kNoWorker);
  EXPECT_FALSE(ExplainWait(kNeeded, 1, {}).free.has_value());
  const WorkerRoom small{{0, "", 8, 0}, {0, "", 8, 0}};
  EXPECT_EQ(ExplainWait(kNeeded, 1, {small}).reason, WaitReason::kNoSuchCapacity);
  const WorkerRoom busy{{1, "h200", 8, 0}, {0, "h200", 8, 0}};
  EXPECT_EQ(ExplainWait(kNeeded, 1, {small, busy}).reason, WaitReason::kWorkersBusy);
  const WorkerRoom idle{{1, "h200", 8, 0}, {1, "h200", 2, 0}};
  EXPECT_EQ(ExplainWait(kNeeded, 1, {small, busy, idle}).reason, WaitReason::kAboutToStart);
}

TEST(Wait, ARunOutsideTheQueueWaitsForItsOwnersHoldingLimitWhateverIsFree) {
  const WorkerRoom idle{{1, "", 8, 0}, {1, "", 8, 0}};
  EXPECT_EQ(ExplainWait(kNeeded, std::nullopt, {idle}).reason, WaitReason::kHoldingLimit);
}

TEST(Wait, TheSentenceSaysThePlaceAndTheNeed) {
  const WorkerRoom small{{0, "", 8, 0}, {0, "", 8, 0}};
  EXPECT_EQ(
      ExplainWait(kNeeded, 3, {small}).sentence,
      "Number 3 in the queue. It needs 2 CPU cores, 1 GPU, more than any connected worker has "
      "in all.");
}

TEST(Wait, TheMostThatOneWorkerHasFreeIsShown) {
  const WorkerRoom a{{8, "", 8, 0}, {1, "", 8, 0}};
  const WorkerRoom b{{8, "", 8, 0}, {2, "", 1, 0}};
  EXPECT_EQ(ExplainWait(kNeeded, 1, {a, b}).free->gpus, 2);
}

}  // namespace
}  // namespace finetuned
