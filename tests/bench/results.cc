#include "tests/bench/results.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "nlohmann/json.hpp"

namespace finetuned::bench {

double Percentile(std::vector<double>& values, double part) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const auto at = static_cast<size_t>(part * static_cast<double>(values.size()));
  return values[std::min(at, values.size() - 1)];
}

double Median(std::vector<double> values) { return Percentile(values, 0.5); }

std::string MedianAndRange(const std::vector<double>& values, int decimals) {
  if (values.empty()) return "-";
  const auto [least, greatest] = std::minmax_element(values.begin(), values.end());
  return absl::StrFormat("%.*f [%.*f to %.*f]", decimals, Median(values), decimals, *least,
                         decimals, *greatest);
}

std::string ToMarkdown(const std::vector<Result>& results) {
  std::string text;
  for (const Result& result : results) {
    absl::StrAppend(&text, "| ", result.name, " | ", result.workload, " | ", result.measured, " | ",
                    result.against, " | ", result.goal, " | ",
                    result.goal.empty() ? ""
                    : result.met        ? "yes"
                                        : "**no**",
                    " |\n");
  }
  return text;
}

std::string ToJson(const std::vector<Result>& results) {
  nlohmann::ordered_json all = nlohmann::ordered_json::array();
  for (const Result& result : results) {
    all.push_back({{"name", result.name},
                   {"goal", result.goal},
                   {"met", result.met},
                   {"numbers", result.numbers}});
  }
  return all.dump(2) + "\n";
}

}  // namespace finetuned::bench
