#include "queue/placement.h"

#include <gtest/gtest.h>

namespace finetuned {
namespace {

Candidate Waiting(int64_t run_id, int cpus, int gpus = 0) {
  Candidate candidate;
  candidate.run_id = run_id;
  candidate.needed.cpus = cpus;
  candidate.needed.gpus = gpus;
  return candidate;
}

std::vector<int64_t> Ids(const std::vector<Candidate>& chosen) {
  std::vector<int64_t> ids;
  for (const Candidate& candidate : chosen) ids.push_back(candidate.run_id);
  return ids;
}

// Those taken, and then those left.
using Parts = std::pair<std::vector<int64_t>, std::vector<int64_t>>;
Parts Take(std::vector<Candidate> candidates, const Shape& free, size_t max_count) {
  const std::vector<int64_t> taken = Ids(TakeRuns(&candidates, free, max_count));
  return {taken, Ids(candidates)};
}

TEST(Placement, TakesInOrderWhatFitsTogether) {
  const Shape free{0, "", 4, 0};
  EXPECT_EQ(Take({Waiting(1, 2), Waiting(2, 2), Waiting(3, 1)}, free, 10), Parts({1, 2}, {3}));
}

TEST(Placement, ALargeRunDoesNotKeepASmallWorkerIdle) {
  const Shape free{0, "", 2, 0};
  EXPECT_EQ(Take({Waiting(1, 1, 8), Waiting(2, 2)}, free, 10), Parts({2}, {1}));
}

TEST(Placement, TakesNoMoreThanAskedFor) {
  const Shape free{0, "", 8, 0};
  EXPECT_EQ(Take({Waiting(1, 1), Waiting(2, 1)}, free, 1), Parts({1}, {2}));
  EXPECT_EQ(Take({Waiting(1, 1)}, free, 0), Parts({}, {1}));
}

TEST(Placement, EachNeedCountsToTheLastUnit) {
  const Shape free{2, "h200", 4, 100};
  EXPECT_TRUE(Fits({2, "h200", 4, 100}, free));
  EXPECT_TRUE(Fits({2, "", 4, 0}, free));
  EXPECT_FALSE(Fits({3, "h200", 4, 100}, free));
  EXPECT_FALSE(Fits({2, "h200", 5, 100}, free));
  EXPECT_FALSE(Fits({2, "h200", 4, 101}, free));
  EXPECT_FALSE(Fits({2, "a100", 4, 100}, free));
  const Shape rest = Minus(free, {1, "h200", 3, 40});
  EXPECT_TRUE(rest == (Shape{1, "h200", 1, 60}));
}

TEST(Placement, ShapesAreEqualInAllOrNotAtAll) {
  const Shape shape{2, "h200", 8, 64};
  EXPECT_TRUE(shape == (Shape{2, "h200", 8, 64}));
  EXPECT_FALSE(shape == (Shape{1, "h200", 8, 64}));
  EXPECT_FALSE(shape == (Shape{2, "a100", 8, 64}));
  EXPECT_FALSE(shape == (Shape{2, "h200", 9, 64}));
  EXPECT_FALSE(shape == (Shape{2, "h200", 8, 65}));
}

}  // namespace
}  // namespace finetuned
