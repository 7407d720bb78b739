#include "db/batcher.h"

#include <future>
#include <memory>

#include <gtest/gtest.h>

namespace finetuned {
namespace {

using IntBatcher = Batcher<int, int>;
using Results = std::vector<absl::StatusOr<int>>;

// Holds each batch until it is let go, so that a test says what gathers meanwhile.
class Gate {
 public:
  // To be called by the batch: announces it and waits.
  void Pass(const std::vector<int>& items) {
    MutexLock lock(mutex_);
    batches_.push_back(items);
    changed_.NotifyAll();
    while (open_ < batches_.size()) changed_.Wait(mutex_);
  }
  void LetGo(size_t batch_count) {
    MutexLock lock(mutex_);
    open_ = batch_count;
    changed_.NotifyAll();
  }
  std::vector<std::vector<int>> WaitForBatches(size_t count) {
    MutexLock lock(mutex_);
    while (batches_.size() < count) changed_.Wait(mutex_);
    return batches_;
  }

 private:
  Mutex mutex_;
  CondVar changed_;
  size_t open_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<std::vector<int>> batches_ ABSL_GUARDED_BY(mutex_);
};

// Twice the item.
Results Doubled(const std::vector<int>& items) {
  Results results;
  for (const int item : items) results.push_back(2 * item);
  return results;
}

std::future<absl::StatusOr<int>> Submit(IntBatcher& batcher, int item) {
  auto promise = std::make_shared<std::promise<absl::StatusOr<int>>>();
  auto future = promise->get_future();
  batcher.Submit(item, [promise](absl::StatusOr<int> result) { promise->set_value(result); });
  return future;
}

constexpr size_t kAll = 1000;

TEST(Batcher, WhatComesWhileOneIsOnItsWayGoesTogether) {
  Gate gate;
  IntBatcher batcher({}, [&](const std::vector<int>& items) -> absl::StatusOr<Results> {
    gate.Pass(items);
    return Doubled(items);
  });
  batcher.Start();
  std::vector<std::future<absl::StatusOr<int>>> futures;
  futures.push_back(Submit(batcher, 1));
  gate.WaitForBatches(1);
  for (int item = 2; item <= 5; ++item) futures.push_back(Submit(batcher, item));
  gate.LetGo(kAll);
  for (int item = 1; item <= 5; ++item) EXPECT_EQ(*futures[item - 1].get(), 2 * item);
  EXPECT_EQ(gate.WaitForBatches(2), (std::vector<std::vector<int>>{{1}, {2, 3, 4, 5}}));
}

TEST(Batcher, WhatComesAllTheTimeGathersForTheInterval) {
  Gate gate;
  gate.LetGo(kAll);
  IntBatcher::Options options;
  options.interval = absl::Hours(1);
  IntBatcher batcher(options, [&](const std::vector<int>& items) -> absl::StatusOr<Results> {
    gate.Pass(items);
    return Doubled(items);
  });
  batcher.Start();
  EXPECT_EQ(*Submit(batcher, 1).get(), 2);
  auto second = Submit(batcher, 2);
  EXPECT_EQ(second.wait_for(std::chrono::milliseconds(50)), std::future_status::timeout);
  auto third = Submit(batcher, 3);
  batcher.Stop();
  EXPECT_EQ(*second.get(), 4);
  EXPECT_EQ(*third.get(), 6);
  EXPECT_EQ(gate.WaitForBatches(2), (std::vector<std::vector<int>>{{1}, {2, 3}}));
}

TEST(Batcher, WhatABatchHasLeftDoesNotWaitForTheInterval) {
  Gate gate;
  IntBatcher::Options options;
  options.interval = absl::Hours(1);
  options.key = [](const int& item) { return item % 10; };
  IntBatcher batcher(options, [&](const std::vector<int>& items) -> absl::StatusOr<Results> {
    gate.Pass(items);
    return Doubled(items);
  });
  auto first = Submit(batcher, 1);
  auto second = Submit(batcher, 11);
  auto third = Submit(batcher, 21);
  gate.LetGo(kAll);
  batcher.Start();
  EXPECT_EQ(*first.get(), 2);
  EXPECT_EQ(*second.get(), 22);
  EXPECT_EQ(*third.get(), 42);
}

TEST(Batcher, ABatchHasALimitAndSoHasTheWait) {
  Gate gate;
  IntBatcher::Options options;
  options.max_batch = 2;
  options.max_waiting = 3;
  std::vector<size_t> sizes;
  options.observe_size = [&](size_t size) { sizes.push_back(size); };
  IntBatcher batcher(options, [&](const std::vector<int>& items) -> absl::StatusOr<Results> {
    gate.Pass(items);
    return Doubled(items);
  });
  batcher.Start();
  std::vector<std::future<absl::StatusOr<int>>> futures;
  futures.push_back(Submit(batcher, 1));
  gate.WaitForBatches(1);
  for (int item = 2; item <= 4; ++item) futures.push_back(Submit(batcher, item));
  const absl::Status refused = Submit(batcher, 5).get().status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(ErrorReason(refused), "OVERLOADED");
  gate.LetGo(kAll);
  for (auto& future : futures) EXPECT_TRUE(future.get().ok());
  batcher.Stop();
  EXPECT_EQ(gate.WaitForBatches(3), (std::vector<std::vector<int>>{{1}, {2, 3}, {4}}));
  EXPECT_EQ(sizes, (std::vector<size_t>{1, 2, 1}));
}

TEST(Batcher, ItemsOfOneKeyNeverGoTogetherAndKeepTheirOrder) {
  Gate gate;
  IntBatcher::Options options;
  options.key = [](const int& item) { return item / 10; };
  IntBatcher batcher(options, [&](const std::vector<int>& items) -> absl::StatusOr<Results> {
    gate.Pass(items);
    return Doubled(items);
  });
  batcher.Start();
  std::vector<std::future<absl::StatusOr<int>>> futures;
  futures.push_back(Submit(batcher, 1));
  gate.WaitForBatches(1);
  for (const int item : {10, 11, 20, 12, 21, 30}) futures.push_back(Submit(batcher, item));
  gate.LetGo(kAll);
  for (auto& future : futures) EXPECT_TRUE(future.get().ok());
  EXPECT_EQ(gate.WaitForBatches(4),
            (std::vector<std::vector<int>>{{1}, {10, 20, 30}, {11, 21}, {12}}));
}

TEST(Batcher, ABatchThatOneItemSpoilsIsRunAgainOneByOne) {
  Gate gate;
  IntBatcher batcher({}, [&](const std::vector<int>& items) -> absl::StatusOr<Results> {
    gate.Pass(items);
    for (const int item : items) {
      if (item == 3) return absl::InternalError("three");
    }
    return Doubled(items);
  });
  batcher.Start();
  std::vector<std::future<absl::StatusOr<int>>> futures;
  futures.push_back(Submit(batcher, 1));
  gate.WaitForBatches(1);
  for (int item = 2; item <= 4; ++item) futures.push_back(Submit(batcher, item));
  gate.LetGo(kAll);
  EXPECT_EQ(*futures[0].get(), 2);
  EXPECT_EQ(*futures[1].get(), 4);
  EXPECT_EQ(futures[2].get().status().code(), absl::StatusCode::kInternal);
  EXPECT_EQ(*futures[3].get(), 8);
  EXPECT_EQ(gate.WaitForBatches(5), (std::vector<std::vector<int>>{{1}, {2, 3, 4}, {2}, {3}, {4}}));
}

TEST(Batcher, ADatabaseThatIsAwayIsNotAskedAgainForEach) {
  Gate gate;
  IntBatcher batcher({}, [&](const std::vector<int>& items) -> absl::StatusOr<Results> {
    gate.Pass(items);
    return UnavailableError("DATABASE_UNAVAILABLE", "away", absl::Seconds(1));
  });
  batcher.Start();
  std::vector<std::future<absl::StatusOr<int>>> futures;
  futures.push_back(Submit(batcher, 1));
  gate.WaitForBatches(1);
  for (int item = 2; item <= 4; ++item) futures.push_back(Submit(batcher, item));
  gate.LetGo(kAll);
  for (auto& future : futures) {
    EXPECT_EQ(ErrorReason(future.get().status()), "DATABASE_UNAVAILABLE");
  }
  batcher.Stop();
  EXPECT_EQ(gate.WaitForBatches(2).size(), 2u);
}

TEST(Batcher, StoppingFinishesWhatWasTakenAndRefusesTheRest) {
  Gate gate;
  gate.LetGo(kAll);
  IntBatcher batcher({}, [&](const std::vector<int>& items) -> absl::StatusOr<Results> {
    gate.Pass(items);
    return Doubled(items);
  });
  auto before = Submit(batcher, 1);
  batcher.Start();
  batcher.Stop();
  EXPECT_EQ(*before.get(), 2);
  EXPECT_EQ(Submit(batcher, 2).get().status().code(), absl::StatusCode::kUnavailable);
  batcher.Stop();
}

}  // namespace
}  // namespace finetuned
