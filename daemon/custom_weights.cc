#include "daemon/custom_weights.h"

#include <sys/stat.h>

#include <cerrno>
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

std::string Relative(const std::string& path, const std::string& root) {
  return std::string(absl::StripPrefix(absl::string_view(path).substr(root.size()), "/"));
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

absl::Status NotAFolder(const std::string& shown) {
  return WeightsNotFound(shown, absl::StrCat("it is a file, and neither a checkpoint's folder nor ",
                                             ArtifactStore::kPointerName));
}

absl::Status NoWeights(const std::string& shown) {
  return WeightsNotFound(shown, absl::StrCat("it holds none of ", absl::StrJoin(kWeights, ", ")));
}

// OK when a folder under the artifact root holds weights.
absl::Status CheckFolder(const ArtifactStore& store, const std::string& folder,
                         const std::string& shown) {
  const auto entry = store.Head(folder);
  if (!entry.ok() && !absl::IsNotFound(entry.status()) &&
      !absl::IsInvalidArgument(entry.status())) {
    return Unreadable(entry.status());
  }
  if (!entry.ok()) return WeightsNotFound(shown, "it is not there");
  if (!entry->is_folder) return NotAFolder(shown);
  for (const char* name : kWeights) {
    const auto file = store.Head(absl::StrCat(folder, "/", name));
    if (file.ok() && !file->is_folder) return absl::OkStatus();
  }
  return NoWeights(shown);
}

// The same of a folder under a data root, whose links are its owner's business, as for a worker.
absl::Status CheckDataFolder(const std::string& folder, const std::string& shown) {
  struct stat info;
  if (stat(folder.c_str(), &info) != 0) {
    const bool absent = errno == ENOENT || errno == ENOTDIR;
    return absent ? WeightsNotFound(shown, "it is not there") : absl::OkStatus();
  }
  if (!S_ISDIR(info.st_mode)) return NotAFolder(shown);
  for (const char* name : kWeights) {
    const std::string file = absl::StrCat(folder, "/", name);
    if (stat(file.c_str(), &info) == 0 ? S_ISREG(info.st_mode) : errno != ENOENT) {
      return absl::OkStatus();
    }
  }
  return NoWeights(shown);
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

std::string RunOfWeights(const std::string& path, const std::string& artifact_root,
                         const std::string& workspace) {
  if (!absl::StartsWith(path, "/")) return RunOf(path, workspace);
  return IsUnder(path, artifact_root) ? RunOf(Relative(path, artifact_root), workspace) : "";
}

absl::StatusOr<std::string> FindCustomWeights(const std::string& path, const RunPolicy& policy) {
  std::string root = policy.artifact_root;
  const bool absolute = absl::StartsWith(path, "/");
  const bool artifact = !absolute || IsUnder(path, root);
  if (!artifact) {
    root.clear();
    for (const std::string& data_root : policy.data_roots) {
      if (IsUnder(path, data_root) && data_root.size() > root.size()) root = data_root;
    }
    // A root that only workers have.
    if (root.empty() || !FileExists(root)) return path;
  }
  const ArtifactStore store(root);
  std::string folder = absolute ? Relative(path, root) : path;
  const bool is_pointer = absl::EndsWith(folder, absl::StrCat("/", ArtifactStore::kPointerName));
  if (is_pointer) {
    FT_ASSIGN_OR_RETURN(folder, Follow(store, folder, path));
  }
  if (artifact) {
    FT_RETURN_IF_ERROR(CheckFolder(store, folder, path));
  } else {
    FT_RETURN_IF_ERROR(CheckDataFolder(store.Absolute(folder), path));
  }
  if (!is_pointer) return path;
  return absolute ? store.Absolute(folder) : folder;
}

}  // namespace finetuned
