#include "queue/wait.h"

#include <gtest/gtest.h>

namespace finetuned {
namespace {

const Shape kNeeded{1, "", 2, 0};

TEST(Wait, EachReasonComesFromWhatTheWorkersHave) {
  EXPECT_EQ(ExplainWait(kNeeded, 1, std::nullopt, {}).reason, WaitReason::kNoWorker);
  EXPECT_FALSE(ExplainWait(kNeeded, 1, std::nullopt, {}).free.has_value());
  const WorkerRoom small{{0, "", 8, 0}, {0, "", 8, 0}};
  EXPECT_EQ(ExplainWait(kNeeded, 1, std::nullopt, {small}).reason, WaitReason::kNoSuchCapacity);
  const WorkerRoom busy{{1, "h200", 8, 0}, {0, "h200", 8, 0}};
  EXPECT_EQ(ExplainWait(kNeeded, 1, std::nullopt, {small, busy}).reason, WaitReason::kWorkersBusy);
  const WorkerRoom idle{{1, "h200", 8, 0}, {1, "h200", 2, 0}};
  EXPECT_EQ(ExplainWait(kNeeded, 1, std::nullopt, {small, busy, idle}).reason,
            WaitReason::kAboutToStart);
}

TEST(Wait, PlacesFarBehindAreNotCounted) {
  EXPECT_EQ(ExplainWait(kNeeded, 1000, std::nullopt, {}).sentence,
            "Number 1000 in the queue. No worker is connected: start one with `finetuned worker`.");
  EXPECT_EQ(ExplainWait(kNeeded, 1001, std::nullopt, {}).sentence,
            "Behind more than 999 others in the queue. No worker is connected: start one with "
            "`finetuned worker`.");
}

TEST(Wait, WhatARunNeedsIsSaidInWords) {
  const WorkerRoom small{{0, "", 1, 0}, {0, "", 1, 0}};
  const auto sentence = [&](const Shape& needed) {
    return ExplainWait(needed, 1, std::nullopt, {small}).sentence;
  };
  EXPECT_EQ(sentence({0, "", 2, 0}),
            "Number 1 in the queue. It needs 2 CPU cores, more than any connected worker has in "
            "all.");
  EXPECT_EQ(sentence({1, "h200", 1, int64_t{3} << 20}),
            "Number 1 in the queue. It needs 1 CPU core, 1 h200 GPU, 3 MiB of memory, more than "
            "any connected worker has in all.");
  EXPECT_EQ(sentence({2, "", 1, 0}),
            "Number 1 in the queue. It needs 1 CPU core, 2 GPUs, more than any connected worker "
            "has in all.");
}

TEST(Wait, ARunOutsideTheQueueWaitsForItsOwnersHoldingLimitWhateverIsFree) {
  const WorkerRoom idle{{1, "", 8, 0}, {1, "", 8, 0}};
  EXPECT_EQ(ExplainWait(kNeeded, std::nullopt, std::nullopt, {idle}).reason,
            WaitReason::kHoldingLimit);
}

TEST(Wait, ARunWhoseAttemptsWereLostSaysWhenTheNextIsDue) {
  const WorkerRoom idle{{1, "", 8, 0}, {1, "", 8, 0}};
  const WaitExplanation why = ExplainWait(kNeeded, std::nullopt, absl::Milliseconds(38500), {idle});
  EXPECT_EQ(why.reason, WaitReason::kRetryDelay);
  EXPECT_EQ(why.sentence, "Its next attempt is queued in 39s.");
}

TEST(Wait, AWorkerInQuarantineGivesNoRoomAndIsToldWhereItIsTheReason) {
  WorkerRoom quarantined{{1, "", 8, 0}, {1, "", 8, 0}};
  quarantined.in_quarantine = true;
  const WorkerRoom small{{0, "", 8, 0}, {0, "", 8, 0}};
  const WorkerRoom busy{{1, "", 8, 0}, {0, "", 8, 0}};
  EXPECT_EQ(ExplainWait(kNeeded, 1, std::nullopt, {quarantined}).reason,
            WaitReason::kWorkersInQuarantine);
  EXPECT_EQ(ExplainWait(kNeeded, 1, std::nullopt, {small, quarantined}).reason,
            WaitReason::kWorkersInQuarantine);
  EXPECT_EQ(ExplainWait(kNeeded, 1, std::nullopt, {busy, quarantined}).reason,
            WaitReason::kWorkersBusy);
  quarantined.capacity = small.capacity;
  EXPECT_EQ(ExplainWait(kNeeded, 1, std::nullopt, {small, quarantined}).reason,
            WaitReason::kNoSuchCapacity);
}

TEST(Wait, TheSentenceSaysThePlaceAndTheNeed) {
  const WorkerRoom small{{0, "", 8, 0}, {0, "", 8, 0}};
  EXPECT_EQ(
      ExplainWait(kNeeded, 3, std::nullopt, {small}).sentence,
      "Number 3 in the queue. It needs 2 CPU cores, 1 GPU, more than any connected worker has "
      "in all.");
}

TEST(Wait, WithoutAWorkerTheSentenceSaysWhatToDo) {
  EXPECT_EQ(ExplainWait(kNeeded, 1, std::nullopt, {}).sentence,
            "Number 1 in the queue. No worker is connected: start one with `finetuned worker`.");
}

TEST(Wait, TheMostThatOneWorkerHasFreeIsShown) {
  const WorkerRoom a{{8, "", 8, 0}, {1, "", 8, 0}};
  const WorkerRoom b{{8, "", 8, 0}, {2, "", 1, 0}};
  EXPECT_EQ(ExplainWait(kNeeded, 1, std::nullopt, {a, b}).free->gpus, 2);
  const WorkerRoom more_cpus{{8, "", 8, 0}, {2, "", 3, 0}};
  EXPECT_EQ(ExplainWait(kNeeded, 1, std::nullopt, {b, more_cpus}).free->cpus, 3);
  EXPECT_EQ(ExplainWait(kNeeded, 1, std::nullopt, {more_cpus, b}).free->cpus, 3);
}

}  // namespace
}  // namespace finetuned
