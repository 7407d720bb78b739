#include "cli/plot.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace finetuned::cli {
namespace {

constexpr int kLabelWidth = 10;

// Dots of a Braille character by their place, as Unicode 15.0 numbers them from U+2800 on.
constexpr int kDots[4][2] = {{0x01, 0x08}, {0x02, 0x10}, {0x04, 0x20}, {0x40, 0x80}};

std::string BrailleCharacter(int dots) {
  const int code = 0x2800 + dots;
  return {static_cast<char>(0xe0 | (code >> 12)), static_cast<char>(0x80 | ((code >> 6) & 0x3f)),
          static_cast<char>(0x80 | (code & 0x3f))};
}

// Places that are filled or not, from the top left.
class Canvas {
 public:
  Canvas(int columns, int lines)
      : columns_(columns), filled_(static_cast<size_t>(columns) * static_cast<size_t>(lines)) {}

  void Fill(int x, int y) { filled_[At(x, y)] = true; }
  bool IsFilled(int x, int y) const { return filled_[At(x, y)]; }

 private:
  size_t At(int x, int y) const {
    return static_cast<size_t>(y) * static_cast<size_t>(columns_) + static_cast<size_t>(x);
  }

  const int columns_;
  std::vector<bool> filled_;
};

// The values of a column: the least, the greatest, and the newest.
struct Range {
  double least = 0;
  double greatest = 0;
  double last = 0;
};

// A column without points lies on the line between its neighbours.
void FillGaps(std::vector<std::optional<Range>>& ranges) {
  size_t before = 0;
  for (size_t at = 1; at < ranges.size(); ++at) {
    if (!ranges[at].has_value()) continue;
    const double from = ranges[before]->last;
    const double to = ranges[at]->last;
    for (size_t gap = before + 1; gap < at; ++gap) {
      const double part = static_cast<double>(gap - before) / static_cast<double>(at - before);
      const double value = from * (1 - part) + to * part;
      ranges[gap] = Range{value, value, value};
    }
    before = at;
  }
}

}  // namespace

std::string Plot(const std::vector<MetricPoint>& points, const PlotOptions& options) {
  if (points.empty()) return "";
  const int columns = std::max(options.width, kMinPlotWidth) - kLabelWidth - 2;
  const int lines = std::max(options.height, kMinPlotHeight) - 2;
  const int across = options.utf8 ? 2 : 1;
  const int down = options.utf8 ? 4 : 1;
  const int width = columns * across;
  const int height = lines * down;

  double least = points[0].value;
  double greatest = points[0].value;
  for (const MetricPoint& point : points) {
    least = std::min(least, point.value);
    greatest = std::max(greatest, point.value);
  }
  const double first = static_cast<double>(points.front().step);
  const double steps = std::max(1.0, static_cast<double>(points.back().step) - first);
  // Halved before the difference: that of two finite values may not be.
  const double span = greatest / 2 - least / 2;

  std::vector<std::optional<Range>> ranges(static_cast<size_t>(width));
  for (const MetricPoint& point : points) {
    const double part = (static_cast<double>(point.step) - first) / steps;
    std::optional<Range>& range = ranges[static_cast<size_t>(part * (width - 1))];
    if (!range.has_value()) range = Range{point.value, point.value, point.value};
    range->least = std::min(range->least, point.value);
    range->greatest = std::max(range->greatest, point.value);
    range->last = point.value;
  }
  FillGaps(ranges);
  const auto line_of = [&](double value) {
    const double part = span > 0 ? (value / 2 - least / 2) / span : 0.5;
    return height - 1 - static_cast<int>(std::lround(part * (height - 1)));
  };
  Canvas canvas(width, height);
  for (int x = 0; x < width; ++x) {
    const std::optional<Range>& range = ranges[static_cast<size_t>(x)];
    if (!range.has_value()) continue;
    for (int y = line_of(range->greatest); y <= line_of(range->least); ++y) canvas.Fill(x, y);
  }

  std::string text;
  for (int line = 0; line < lines; ++line) {
    std::string label;
    if (line == 0) label = absl::StrFormat("%.4g", greatest);
    if (line == lines - 1 && span > 0) label = absl::StrFormat("%.4g", least);
    absl::StrAppend(&text, absl::StrFormat("%*s ", kLabelWidth, label), options.utf8 ? "│" : "|");
    std::string row;
    size_t end = 0;
    for (int column = 0; column < columns; ++column) {
      int dots = 0;
      for (int y = 0; y < down; ++y) {
        for (int x = 0; x < across; ++x) {
          if (canvas.IsFilled(column * across + x, line * down + y)) dots |= kDots[y][x];
        }
      }
      row += dots == 0 ? " " : options.utf8 ? BrailleCharacter(dots) : "*";
      if (dots != 0) end = row.size();
    }
    absl::StrAppend(&text, row.substr(0, end), "\n");
  }
  std::string axis;
  for (int column = 0; column < columns; ++column) axis += options.utf8 ? "─" : "-";
  absl::StrAppend(&text, std::string(kLabelWidth + 1, ' '), options.utf8 ? "└" : "+", axis, "\n");
  std::string left = absl::StrCat("step ", points.front().step);
  const std::string right = absl::StrCat(points.back().step);
  // The last step says more than the first where there is no room for both.
  if (static_cast<int>(left.size() + 1 + right.size()) > columns) left.clear();
  absl::StrAppend(&text, std::string(kLabelWidth + 2, ' '), left,
                  std::string(static_cast<size_t>(columns) - left.size() - right.size(), ' '),
                  right, "\n");
  return text;
}

}  // namespace finetuned::cli
