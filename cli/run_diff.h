#pragma once

#include <optional>
#include <string>
#include <vector>

#include "finetuned/v1/run.pb.h"
#include "nlohmann/json.hpp"

namespace finetuned::cli {

// What a run was and what became of it, for comparing.
struct ComparedRun {
  v1::Run run;
  // The evaluation loss of its newest checkpoint; absent where none is known.
  std::optional<double> eval_loss;
};

// A place where two runs differ. Null on the side that has nothing there.
struct Difference {
  // As in the API: `spec.compute.gpus`, `labels.team`; `outcome.*` for what became of them.
  std::string path;
  nlohmann::ordered_json a;
  nlohmann::ordered_json b;
};

// In the order of the API's JSON; labels behind the spec, the outcome behind them. A list is one
// value. Pure.
std::vector<Difference> CompareRuns(const ComparedRun& a, const ComparedRun& b);

// A value for a table: text without quotes, `-` for null.
std::string ValueText(const nlohmann::ordered_json& value);

}  // namespace finetuned::cli
