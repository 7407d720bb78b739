#include "cli/metric_points.h"

#include <algorithm>
#include <cmath>

#include "base/time.h"

namespace finetuned::cli {
namespace {

void Add(MetricPoints& points, const std::string& name, const MetricPoint& point) {
  if (!std::isfinite(point.value)) return;
  std::vector<MetricPoint>& series = points[name];
  while (!series.empty() && series.back().step >= point.step) series.pop_back();
  series.push_back(point);
}

// Takes away what does not count any more.
void GoBack(int64_t step, bool with_step, std::vector<MetricPoint>& series) {
  const auto is_after = [&](const MetricPoint& point) {
    return point.step > step || (with_step && point.step == step);
  };
  series.erase(std::remove_if(series.begin(), series.end(), is_after), series.end());
}

}  // namespace

void AddSeries(const v1::ReadMetricsResponse& message, MetricPoints& points) {
  if (message.has_went_back_to_step()) {
    const int64_t step = message.went_back_to_step();
    for (auto& [name, series] : points) GoBack(step, false, series);
    for (const v1::MetricSeries& added : message.series()) {
      const auto& steps = added.steps();
      if (std::find(steps.begin(), steps.end(), step) != steps.end()) {
        GoBack(step, true, points[added.name()]);
      }
    }
  }
  for (const v1::MetricSeries& added : message.series()) {
    std::vector<MetricPoint>& series = points[added.name()];
    const int count =
        std::min({added.steps_size(), added.values_size(), added.times_millis_size()});
    for (int i = 0; i < count; ++i) {
      series.push_back(
          {added.steps(i), added.values(i), absl::FromUnixMillis(added.times_millis(i))});
    }
  }
}

void AddPoints(const v1::RunEvent& event, MetricPoints& points) {
  MetricPoint point;
  point.time = FromProtoTime(event.event_time());
  const auto add_all = [&](const google::protobuf::Map<std::string, double>& metrics) {
    for (const auto& [name, value] : metrics) {
      point.value = value;
      Add(points, name, point);
    }
  };
  if (event.has_progress()) {
    point.step = event.progress().step();
    if (event.progress().has_train_loss()) {
      point.value = event.progress().train_loss();
      Add(points, "train/loss", point);
    }
    add_all(event.progress().metrics());
  } else if (event.has_evaluation()) {
    point.step = event.evaluation().step();
    point.value = event.evaluation().loss();
    Add(points, "eval/loss", point);
    add_all(event.evaluation().metrics());
  }
}

}  // namespace finetuned::cli
