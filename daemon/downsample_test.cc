#include "daemon/downsample.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

namespace finetuned {
namespace {

std::vector<int64_t> StepsOf(const std::vector<MetricPoint>& points) {
  std::vector<int64_t> steps;
  for (const MetricPoint& point : points) steps.push_back(point.step);
  return steps;
}

TEST(Downsample, KeepsAllWhereTheyAreFewEnough) {
  Downsampler sampler(10);
  for (const int64_t step : {3, 1, 2, 2, 2, 9, 8, 7, 6, 5}) sampler.Add({step, 0, 0});
  EXPECT_EQ(StepsOf(sampler.Points()), (std::vector<int64_t>{1, 2, 2, 2, 3, 5, 6, 7, 8, 9}));
}

// Whatever comes, in whatever order: the bound holds, and so do the extremes and the ends.
TEST(Downsample, KeepsTheExtremesAndTheEndsOfEverySeries) {
  std::mt19937_64 random(11);
  for (int round = 0; round < 300; ++round) {
    const size_t bound = 10 + random() % 50;
    const int64_t count = 1 + static_cast<int64_t>(random() % 3000);
    Downsampler sampler(bound);
    MetricPoint least{0, std::numeric_limits<double>::infinity(), 0};
    MetricPoint greatest{0, -std::numeric_limits<double>::infinity(), 0};
    std::vector<MetricPoint> points;
    for (int64_t i = 0; i < count; ++i) {
      const int64_t step = round % 3 == 0 ? static_cast<int64_t>(random() % 100000) : i;
      points.push_back({step, std::ldexp(static_cast<double>(random() % 4096), -6), i});
    }
    for (const MetricPoint& point : points) {
      sampler.Add(point);
      if (point.value < least.value) least = point;
      if (point.value > greatest.value) greatest = point;
    }
    const std::vector<MetricPoint> kept = sampler.Points();
    ASSERT_LE(kept.size(), bound);
    const std::vector<int64_t> steps = StepsOf(kept);
    EXPECT_TRUE(std::is_sorted(steps.begin(), steps.end()));
    const auto has = [&](double value) {
      return std::any_of(kept.begin(), kept.end(),
                         [value](const MetricPoint& point) { return point.value == value; });
    };
    EXPECT_TRUE(has(least.value)) << round;
    EXPECT_TRUE(has(greatest.value)) << round;
    std::vector<int64_t> all = StepsOf(points);
    std::sort(all.begin(), all.end());
    EXPECT_EQ(steps.front(), all.front());
    EXPECT_EQ(steps.back(), all.back());
    EXPECT_GE(kept.size(), std::min(points.size(), bound / 4));
  }
}

TEST(Downsample, ShowsThatTheLossWasNoNumber) {
  Downsampler sampler(20);
  for (int64_t step = 0; step < 10'000; ++step) {
    sampler.Add({step, step == 7777 ? std::nan("") : 1.0, 0});
  }
  const auto kept = sampler.Points();
  const auto odd = std::find_if(kept.begin(), kept.end(),
                                [](const MetricPoint& point) { return std::isnan(point.value); });
  ASSERT_NE(odd, kept.end());
  EXPECT_EQ(odd->step, 7777);
  EXPECT_LE(kept.size(), 20u);
}

TEST(Downsample, TakesAnyStep) {
  Downsampler sampler(10);
  std::mt19937_64 random(5);
  for (int i = 0; i < 10'000; ++i) sampler.Add({static_cast<int64_t>(random()), 1.0 * i, i});
  EXPECT_LE(sampler.Points().size(), 10u);
}

}  // namespace
}  // namespace finetuned
