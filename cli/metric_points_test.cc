#include "cli/metric_points.h"

#include "absl/strings/str_cat.h"

#include <gtest/gtest.h>

#include <cmath>

namespace finetuned::cli {
namespace {

v1::RunEvent Update(int64_t step, double loss, double rate) {
  v1::RunEvent event;
  event.set_type(v1::RunEvent::TRAIN_UPDATED);
  event.mutable_event_time()->set_seconds(1700000000 + step);
  event.mutable_progress()->set_step(step);
  event.mutable_progress()->set_train_loss(loss);
  (*event.mutable_progress()->mutable_metrics())["lr"] = rate;
  return event;
}

TEST(AddPoints, TakesTheNumbersOfUpdatesAndEvaluations) {
  MetricPoints points;
  AddPoints(v1::RunEvent(), points);
  EXPECT_TRUE(points.empty());
  AddPoints(Update(1, 3.5, 0.1), points);
  AddPoints(Update(2, 3.0, 0.2), points);
  v1::RunEvent evaluated;
  evaluated.mutable_evaluation()->set_step(2);
  evaluated.mutable_evaluation()->set_loss(4);
  (*evaluated.mutable_evaluation()->mutable_metrics())["eval/perplexity"] = 54.6;
  AddPoints(evaluated, points);
  ASSERT_EQ(points.size(), 4U);
  ASSERT_EQ(points["train/loss"].size(), 2U);
  EXPECT_EQ(points["train/loss"][1].step, 2);
  EXPECT_EQ(points["train/loss"][1].value, 3.0);
  EXPECT_EQ(points["train/loss"][1].time, absl::FromUnixSeconds(1700000002));
  EXPECT_EQ(points["lr"][0].value, 0.1);
  EXPECT_EQ(points["eval/loss"][0].value, 4);
  EXPECT_EQ(points["eval/perplexity"][0].step, 2);
}

TEST(AddPoints, WhatIsTrainedAgainReplacesWhatWasBefore) {
  MetricPoints points;
  for (const int64_t step : {1, 2, 3, 4}) AddPoints(Update(step, 10.0, 1), points);
  // The next attempt goes on from a checkpoint at step 2.
  AddPoints(Update(3, 5.0, 1), points);
  const std::vector<MetricPoint>& series = points["train/loss"];
  ASSERT_EQ(series.size(), 3U);
  EXPECT_EQ(series[1].value, 10.0);
  EXPECT_EQ(series[2].step, 3);
  EXPECT_EQ(series[2].value, 5.0);
}

TEST(AddPoints, LeavesOutWhatIsNotFinite) {
  MetricPoints points;
  AddPoints(Update(1, std::nan(""), INFINITY), points);
  EXPECT_TRUE(points.empty());
}

// An attempt that goes back replaces what was said of later steps, and of its first step what it
// says again.
TEST(MetricPoints, WhatWasDoneAgainTakesTheOldPlace) {
  const auto message = [](const std::string& name, std::vector<int64_t> steps, double value) {
    v1::ReadMetricsResponse response;
    v1::MetricSeries& series = *response.add_series();
    series.set_name(name);
    for (const int64_t step : steps) {
      series.add_steps(step);
      series.add_values(value);
      series.add_times_millis(0);
    }
    return response;
  };
  MetricPoints points;
  AddSeries(message("loss", {1, 2, 3, 4}, 1), points);
  AddSeries(message("eval", {2, 4}, 1), points);
  AddSeries(message("lr", {2}, 1), points);
  v1::ReadMetricsResponse back = message("loss", {2, 3}, 2);
  back.set_went_back_to_step(2);
  AddSeries(back, points);
  AddSeries(message("loss", {4}, 2), points);
  const auto text = [&](const std::string& name) {
    std::string out;
    for (const MetricPoint& point : points[name])
      absl::StrAppend(&out, point.step, "=", point.value, " ");
    return out;
  };
  EXPECT_EQ(text("loss"), "1=1 2=2 3=2 4=2 ");
  EXPECT_EQ(text("eval"), "2=1 ");
  EXPECT_EQ(text("lr"), "2=1 ");
}

}  // namespace
}  // namespace finetuned::cli
