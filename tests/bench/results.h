#pragma once

#include <map>
#include <string>
#include <vector>

namespace finetuned::bench {

// One line of the table.
struct Result {
  // Of the benchmark, e.g. `fan-out 20/s`.
  std::string name;
  // What was done, and what was measured.
  std::string workload;
  std::string measured;
  // What it is held against; empty where there is nothing but the goal.
  std::string against;
  std::string goal;
  bool met = false;
  // The numbers, for programs.
  std::map<std::string, double> numbers;
};

// The value below which this part of the values lies; 0 without values. Sorts them.
double Percentile(std::vector<double>& values, double part);
double Median(std::vector<double> values);
// `1.2 [1.1 to 1.4]`: the median and the range.
std::string MedianAndRange(const std::vector<double>& values, int decimals);

// Lines of the table in Markdown, and the same as JSON.
std::string ToMarkdown(const std::vector<Result>& results);
std::string ToJson(const std::vector<Result>& results);

}  // namespace finetuned::bench
