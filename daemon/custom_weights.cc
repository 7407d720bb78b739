#include "daemon/custom_weights.h"

#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "artifacts/artifact_store.h"
#include "base/file.h"
#include "base/status.h"

namespace finetuned {
namespace {

constexpr int64_t kMaxPointerBytes = 4096;
// A folder with one of these can be started from. Adapters are merged in the export beside them.
constexpr const char* kWeights[] = {"model.safetensors", "model.safetensors.index.json",
                                    "adapter_config.json"};

bool IsUnder(const std::string& path, const std::string& root) {
  return absl::StartsWith(path, absl::EndsWith(root, "/") ? root : root + "/");
}

std::string FolderOf(const std::string& path) { return path.substr(0, path.rfind('/')); }

// The run that a path under the artifact root belongs to: `workspaces/{w}/runs/{run}/...`, or
// `workspaces/{w}/models/{model}/{run}`.
std::string RunOf(const std::string& relative, const std::string& workspace) {
  const std::vector<std::string> parts = absl::StrSplit(relative, '/');
  if (parts.size() < 5 || parts[0] != "workspaces" || parts[1] != workspace) return "";
  if (parts[2] == "runs") return parts[3];
  return parts[2] == "models" ? parts[4] : "";
}

absl::Status Unreadable(const absl::Status& status) {
  return UnavailableError("ARTIFACTS_UNREADABLE",
                          absl::StrCat("the artifact root cannot be read now: ", status.message()),
                          absl::Seconds(5));
}

// OK when a folder holds weights.
absl::Status CheckFolder(const ArtifactStore& store, const std::string& folder,
                         const std::string& shown) {
  const auto entry = store.Head(folder);
  if (!entry.ok() && !absl::IsNotFound(entry.status()) &&
      !absl::IsInvalidArgument(entry.status())) {
    return Unreadable(entry.status());
  }
  if (!entry.ok()) return WeightsNotFound(shown, "it is not there");
  if (!entry->is_folder) {
    return WeightsNotFound(shown,
                           absl::StrCat("it is a file, and neither a checkpoint's folder nor ",
                                        ArtifactStore::kPointerName));
  }
  for (const char* name : kWeights) {
    const auto file = store.Head(absl::StrCat(folder, "/", name));
    if (file.ok() && !file->is_folder) return absl::OkStatus();
  }
  return WeightsNotFound(shown, absl::StrCat("it holds none of ", absl::StrJoin(kWeights, ", ")));
}

// What the text file `latest-sharded-rank0.symlink` at `pointer` names: a folder beside it.
absl::StatusOr<std::string> Follow(const ArtifactStore& store, const std::string& pointer,
                                   const std::string& shown) {
  const auto text = store.Get(pointer, kMaxPointerBytes);
  if (absl::IsNotFound(text.status()) || absl::IsInvalidArgument(text.status())) {
    return WeightsNotFound(shown, "it is not there");
  }
  if (!text.ok()) return Unreadable(text.status());
  const std::string target(absl::StripAsciiWhitespace(*text));
  if (target.empty() || absl::StrContains(target, "..")) {
    return WeightsNotFound(shown, "it does not name a folder beside it");
  }
  return absl::StrCat(FolderOf(pointer), "/", target);
}

}  // namespace

absl::Status WeightsNotFound(const std::string& path, const std::string& why) {
  return MakeError(
      absl::StatusCode::kFailedPrecondition, "WEIGHTS_NOT_FOUND",
      absl::StrCat("run.spec.custom_weights_path: cannot start from ", path, ": ", why,
                   "; ListCheckpoints and GetRegisteredModel give paths that can be used"),
      {{"path", path.substr(0, 1024)}});
}

absl::StatusOr<WeightsSource> FindCustomWeights(const std::string& path, const RunPolicy& policy,
                                                const std::string& workspace) {
  std::string root = policy.artifact_root;
  const bool absolute = absl::StartsWith(path, "/");
  const bool artifact = !absolute || IsUnder(path, root);
  if (!artifact) {
    root.clear();
    for (const std::string& data_root : policy.data_roots) {
      if (IsUnder(path, data_root) && data_root.size() > root.size()) root = data_root;
    }
    // A root that only workers have.
    if (root.empty() || !FileExists(root)) return WeightsSource{path, ""};
  }
  const ArtifactStore store(root);
  std::string folder =
      absolute ? std::string(absl::StripPrefix(absl::string_view(path).substr(root.size()), "/"))
               : path;
  const bool is_pointer = absl::EndsWith(folder, absl::StrCat("/", ArtifactStore::kPointerName));
  if (is_pointer) {
    FT_ASSIGN_OR_RETURN(folder, Follow(store, folder, path));
  }
  FT_RETURN_IF_ERROR(CheckFolder(store, folder, path));
  WeightsSource source;
  source.path = !is_pointer ? path : absolute ? store.Absolute(folder) : folder;
  if (artifact) source.run = RunOf(folder, workspace);
  return source;
}

}  // namespace finetuned
