#include "worker/sweeper.h"

#include <vector>

#include "artifacts/attempt_files.h"
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
    const std::string attempts = path + "/attempts";
    const auto entries = store.List(attempts);
    if (absl::IsNotFound(entries.status())) continue;
    FT_RETURN_IF_ERROR(entries.status());
    for (const ArtifactStore::Entry& entry : *entries) {
      for (const char* name : names) {
        FT_RETURN_IF_ERROR(store.Delete(attempts + "/" + entry.name + "/" + name));
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace finetuned
