#pragma once

#include <string>
#include <vector>

#include "cli/metric_points.h"

namespace finetuned::cli {

struct PlotOptions {
  // Columns and lines in all, with the axes; less than kMinPlotWidth and kMinPlotHeight count as
  // these.
  int width = 80;
  int height = 14;
  // Dots of Braille; otherwise one character a place.
  bool utf8 = false;
};

inline constexpr int kMinPlotWidth = 24;
inline constexpr int kMinPlotHeight = 5;

// Values over steps as text: the values at the left, the steps below. Where several points share a
// column all values from the least to the greatest are drawn, so that no spike is lost; columns
// without points lie on the line between their neighbours. Empty without points. Pure.
std::string Plot(const std::vector<MetricPoint>& points, const PlotOptions& options);

}  // namespace finetuned::cli
