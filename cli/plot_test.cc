#include "cli/plot.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "absl/strings/str_split.h"

namespace finetuned::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

MetricPoint At(int64_t step, double value) { return {step, value, absl::UnixEpoch()}; }

std::vector<std::string> Lines(const std::string& text) { return absl::StrSplit(text, '\n'); }

TEST(Plot, DrawsALineThatFalls) {
  PlotOptions options;
  options.width = kMinPlotWidth;
  options.height = 5;
  EXPECT_EQ(Plot({At(1, 3), At(6, 2), At(12, 1)}, options),
            "         3 |***\n"
            "           |   ******\n"
            "         1 |         ***\n"
            "           +------------\n"
            "            step 1    12\n");
}

TEST(Plot, BrailleHasTwoByFourPlacesACharacter) {
  PlotOptions options;
  options.width = kMinPlotWidth;
  options.height = kMinPlotHeight;
  options.utf8 = true;
  EXPECT_EQ(Plot({At(1, 1), At(2, 2)}, options),
            "         2 │        ⣀⠤⠒⠉\n"
            "           │    ⣀⠤⠒⠉\n"
            "         1 │⣀⠤⠒⠉\n"
            "           └────────────\n"
            "            step 1     2\n");
}

TEST(Plot, NoSpikeIsLostWhereManyPointsShareAColumn) {
  std::vector<MetricPoint> points;
  for (int step = 1; step <= 10000; ++step) points.push_back(At(step, step == 5000 ? 100 : 1));
  PlotOptions options;
  options.width = 40;
  options.height = 8;
  const std::vector<std::string> lines = Lines(Plot(points, options));
  // From the top to the bottom in one column.
  const size_t column = lines[0].find('*');
  ASSERT_NE(column, std::string::npos);
  for (int line = 0; line < 6; ++line) {
    ASSERT_GT(lines[static_cast<size_t>(line)].size(), column);
    EXPECT_EQ(lines[static_cast<size_t>(line)][column], '*') << line;
  }
}

TEST(Plot, OnePointEqualValuesAndHugeOnesAreDrawn) {
  const PlotOptions options;
  EXPECT_EQ(Plot({}, options), "");
  EXPECT_THAT(Plot({At(7, 2)}, options), HasSubstr("*"));
  EXPECT_THAT(Plot({At(1, 2), At(2, 2)}, options), HasSubstr("*"));
  constexpr double kMax = std::numeric_limits<double>::max();
  EXPECT_THAT(Plot({At(1, kMax), At(2, -kMax)}, options), Not(HasSubstr("nan")));
}

TEST(Plot, KeepsToItsWidth) {
  std::vector<MetricPoint> points;
  for (int step = 0; step < 500; ++step) points.push_back(At(step * 1000000, step % 7));
  for (const int width : {0, kMinPlotWidth, 80, 200}) {
    PlotOptions options;
    options.width = width;
    for (const std::string& line : Lines(Plot(points, options))) {
      EXPECT_LE(line.size(), static_cast<size_t>(std::max(width, kMinPlotWidth)));
    }
  }
}

}  // namespace
}  // namespace finetuned::cli
