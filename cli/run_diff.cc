#include "cli/run_diff.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/time.h"
#include "cli/output.h"
#include "cli/run_text.h"

namespace finetuned::cli {
namespace {

using Json = nlohmann::ordered_json;
// Each path with its value, in the order of the fields.
using Values = std::vector<std::pair<std::string, Json>>;

// A message is a path for each of its fields; everything else is a value.
void Flatten(const std::string& path, const Json& value, Values& values) {
  if (!value.is_object()) {
    values.emplace_back(path, value);
    return;
  }
  for (const auto& [key, inner] : value.items())
    Flatten(absl::StrCat(path, ".", key), inner, values);
}

Values ValuesOf(const ComparedRun& compared) {
  const v1::Run& run = compared.run;
  Values values;
  // Not thrown about: what is printed as JSON is JSON.
  Flatten("spec", Json::parse(ToJson(run.spec(), false), nullptr, false), values);
  std::vector<std::string> keys;
  for (const auto& [key, value] : run.labels()) keys.push_back(key);
  std::sort(keys.begin(), keys.end());
  for (const std::string& key : keys) values.emplace_back("labels." + key, run.labels().at(key));

  values.emplace_back("outcome.state", StateName(run.state()));
  if (run.has_failure()) values.emplace_back("outcome.failure", run.failure().code());
  values.emplace_back("outcome.attempts", run.attempt());
  if (run.has_start_time() && run.has_end_time()) {
    const absl::Duration took = FromProtoTime(run.end_time()) - FromProtoTime(run.start_time());
    values.emplace_back("outcome.duration_seconds", absl::ToInt64Seconds(took));
  }
  if (run.has_progress()) values.emplace_back("outcome.steps", run.progress().step());
  if (run.progress().has_train_loss()) {
    values.emplace_back("outcome.train_loss", run.progress().train_loss());
  }
  if (compared.eval_loss) values.emplace_back("outcome.eval_loss", *compared.eval_loss);
  return values;
}

const Json* Find(const Values& values, const std::string& path) {
  for (const auto& [name, value] : values) {
    if (name == path) return &value;
  }
  return nullptr;
}

}  // namespace

std::vector<Difference> CompareRuns(const ComparedRun& a, const ComparedRun& b) {
  const Values of_a = ValuesOf(a);
  const Values of_b = ValuesOf(b);
  // The paths of both: those of b alone behind the one that they follow there.
  std::vector<std::string> paths;
  for (const auto& [path, value] : of_a) paths.push_back(path);
  auto at = paths.begin();
  for (const auto& [path, value] : of_b) {
    const auto found = std::find(paths.begin(), paths.end(), path);
    at = std::next(found != paths.end() ? found : paths.insert(at, path));
  }
  std::vector<Difference> differences;
  for (const std::string& path : paths) {
    const Json* left = Find(of_a, path);
    const Json* right = Find(of_b, path);
    if (left != nullptr && right != nullptr && *left == *right) continue;
    differences.push_back(
        {path, left == nullptr ? Json() : *left, right == nullptr ? Json() : *right});
  }
  return differences;
}

std::string ValueText(const Json& value) {
  if (value.is_null()) return "-";
  if (value.is_number_float()) return FormatLoss(value.get<double>());
  const std::string text =
      value.is_string()
          ? value.get<std::string>()
          : value.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  return text.empty() ? "-" : text;
}

}  // namespace finetuned::cli
