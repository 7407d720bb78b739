#include "daemon/resource_name.h"

#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/status.h"
#include "base/uuid.h"
#include "daemon/text.h"

namespace finetuned {
namespace {

constexpr size_t kMaxRunName = 63;

bool IsLower(char c) { return c >= 'a' && c <= 'z'; }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }

}  // namespace

bool IsRunName(const std::string& text) {
  if (text.size() < 2 || text.size() > kMaxRunName) return false;
  if (!IsLower(text.front()) || text.back() == '-') return false;
  for (const char c : text) {
    if (!IsLower(c) && !IsDigit(c) && c != '-') return false;
  }
  return true;
}

absl::StatusOr<std::string> ParseRunName(const std::string& name, const Identity& caller) {
  const std::vector<std::string> parts = absl::StrSplit(name, '/');
  const std::string& last = parts.back();
  const bool shape_ok =
      parts.size() == 1 || (parts.size() == 4 && parts[0] == "workspaces" && parts[2] == "runs");
  if (!shape_ok || (!IsRunName(last) && !IsUuid(last))) {
    return InvalidArgument(
        {{"name", "is not `workspaces/{workspace}/runs/{run}`, `{run}` or a uid", "BAD_NAME"}});
  }
  if (parts.size() == 4 && parts[1] != caller.workspace && parts[1] != "-") {
    return RunNotFound(last);
  }
  return last;
}

absl::Status CheckParent(const std::string& parent, const Identity& caller) {
  if (parent.empty() || parent == "workspaces/-" || parent == "workspaces/" + caller.workspace) {
    return absl::OkStatus();
  }
  if (!absl::StartsWith(parent, "workspaces/")) {
    return InvalidArgument({{"parent", "is not `workspaces/{workspace}`", "BAD_NAME"}});
  }
  return MakeError(absl::StatusCode::kNotFound, "WORKSPACE_NOT_FOUND",
                   "there is no such workspace that you may see");
}

absl::StatusOr<std::string> ParseExperimentName(const std::string& field, const std::string& name,
                                                const Identity& caller) {
  if (name.size() > 1 && name[0] == '/' && name.size() <= kMaxExperimentPath && !HasControl(name)) {
    return name;
  }
  const std::vector<std::string> parts = absl::StrSplit(name, '/');
  const bool shape_ok = parts.size() == 1 || (parts.size() == 4 && parts[0] == "workspaces" &&
                                              parts[2] == "experiments");
  if (!shape_ok || !IsUuid(parts.back())) {
    return InvalidArgument(
        {{field,
          "is not `workspaces/{workspace}/experiments/{uid}`, a uid, or a path that begins with /",
          "BAD_NAME"}});
  }
  if (parts.size() == 4 && parts[1] != caller.workspace && parts[1] != "-") {
    return ExperimentNotFound();
  }
  return parts.back();
}

absl::Status ExperimentNotFound() {
  return MakeError(absl::StatusCode::kNotFound, "EXPERIMENT_NOT_FOUND",
                   "there is no such experiment in which you see a run");
}

bool IsRegisteredModel(const std::string& text, bool two_parts) {
  const std::vector<std::string> parts = absl::StrSplit(text, '.');
  if (parts.size() != 3 && !(two_parts && parts.size() == 2)) return false;
  if (text.size() > kMaxModelName) return false;
  for (const std::string& part : parts) {
    if (part.empty()) return false;
    for (const char c : part) {
      if (!IsLower(c) && !IsDigit(c) && !(c >= 'A' && c <= 'Z') && c != '_' && c != '-') {
        return false;
      }
    }
  }
  return true;
}

absl::StatusOr<std::string> ParseRegisteredModelName(const std::string& name,
                                                     const Identity& caller) {
  const std::vector<std::string> parts = absl::StrSplit(name, '/');
  const bool shape_ok = parts.size() == 1 || (parts.size() == 4 && parts[0] == "workspaces" &&
                                              parts[2] == "registeredModels");
  if (!shape_ok || !IsRegisteredModel(parts.back(), /*two_parts=*/false)) {
    return InvalidArgument(
        {{"name",
          "is not `workspaces/{workspace}/registeredModels/{model}` or `catalog.schema.model`",
          "BAD_NAME"}});
  }
  if (parts.size() == 4 && parts[1] != caller.workspace && parts[1] != "-") {
    return RegisteredModelNotFound(parts.back());
  }
  return parts.back();
}

absl::Status RegisteredModelNotFound(const std::string& name) {
  return MakeError(absl::StatusCode::kNotFound, "MODEL_NOT_FOUND",
                   absl::StrCat("there is no registered model ", name, " that you may see"));
}

absl::Status RunNotFound(const std::string& name) {
  return MakeError(absl::StatusCode::kNotFound, "RUN_NOT_FOUND",
                   absl::StrCat("there is no run ", name, " that you may see"));
}

}  // namespace finetuned
