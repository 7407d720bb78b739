#include "worker/sweeper.h"

#include <vector>

#include "artifacts/attempt_files.h"
#include "base/logging.h"
#include "base/status.h"

namespace finetuned {
namespace {

// A daemon that knows more kinds of files than this version gives this one nothing to do.
std::vector<const char*> NamesOf(v1::SweepFilesResponse::Files files) {
  switch (files) {
    case v1::SweepFilesResponse::LOGS: return {kStdoutLogName, kStderrLogName};
    case v1::SweepFilesResponse::METRICS: return {kMetricFileName};
    default: return {};
  }
}

absl::Status DeleteOf(const ArtifactStore& store, const std::string& attempts,
                      const std::vector<const char*>& names) {
  const auto entries = store.List(attempts);
  if (absl::IsNotFound(entries.status())) return absl::OkStatus();
  FT_RETURN_IF_ERROR(entries.status());
  for (const ArtifactStore::Entry& entry : *entries) {
    for (const char* name : names) {
      FT_RETURN_IF_ERROR(store.Delete(attempts + "/" + entry.name + "/" + name));
    }
  }
  return absl::OkStatus();
}

// One folder that somebody has put there, or shut, must not keep all others from being deleted.
bool IsForGood(const absl::Status& status) {
  return absl::IsInvalidArgument(status) || absl::IsPermissionDenied(status) ||
         absl::IsResourceExhausted(status);
}

}  // namespace

absl::Status DeleteSweptFiles(const ArtifactStore& store, const v1::SweepFilesResponse& sweep,
                              const std::function<bool()>& go_on) {
  const std::vector<const char*> names = NamesOf(sweep.files());
  if (names.empty()) {
    return absl::UnimplementedError("the daemon has files deleted that this version has none of");
  }
  // Of a filesystem that is not mounted everything is absent, and would count as deleted.
  FT_RETURN_IF_ERROR(store.CheckMounted());
  for (const std::string& path : sweep.artifact_paths()) {
    if (!go_on()) return absl::CancelledError("the worker ends");
    const absl::Status deleted = DeleteOf(store, path + "/attempts", names);
    if (IsForGood(deleted)) {
      Log(LogLevel::kError, "files past their retention cannot be deleted, and stay",
          {{"folder", path}, {"error", deleted}});
    } else {
      FT_RETURN_IF_ERROR(deleted);
    }
  }
  return store.CheckMounted();
}

}  // namespace finetuned
