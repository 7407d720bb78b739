#include "cli/metric_points.h"

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

}  // namespace

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
