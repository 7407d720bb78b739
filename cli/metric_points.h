#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "finetuned/v1/event.pb.h"
#include "finetuned/v1/run_service.pb.h"

// The numbers of a run over its steps. Pure.

namespace finetuned::cli {

struct MetricPoint {
  int64_t step = 0;
  double value = 0;
  absl::Time time;
};

// By name: `train/loss`, `eval/loss`, and whatever else the trainer measures.
using MetricPoints = std::map<std::string, std::vector<MetricPoint>>;

// Takes a message of a stream of numbers. Messages are to come in their order.
void AddSeries(const v1::ReadMetricsResponse& message, MetricPoints& points);

// From a daemon that has only events: takes the numbers of an event, where it has any. Events are
// to come in their order: what an attempt that was resumed trains again replaces what the one
// before said of the same steps. What is not finite is left out.
void AddPoints(const v1::RunEvent& event, MetricPoints& points);

}  // namespace finetuned::cli
