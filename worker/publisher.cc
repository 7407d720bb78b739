#include "worker/publisher.h"

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <iterator>
#include <vector>

#include "absl/strings/match.h"
#include "artifacts/copy_folder.h"
#include "artifacts/publish.h"
#include "base/logging.h"
#include "base/status.h"

namespace finetuned {
namespace {

constexpr char kHuggingFaceFolder[] = "huggingface";

std::string Join(const std::string& folder, const std::string& name) {
  return folder.empty() ? name : folder + "/" + name;
}

// `ep1-ba50`: one component that is none of our own names.
absl::Status CheckNames(const CheckpointLine& line) {
  const auto bad = [](const std::string& what) {
    return absl::InvalidArgumentError("not a name of a checkpoint: \"" + what + "\"");
  };
  if (line.name.empty() || line.name[0] == '.' || line.name.find('/') != std::string::npos ||
      line.name == kHuggingFaceFolder || line.name == ArtifactStore::kPointerName) {
    return bad(line.name);
  }
  const std::string prefix = std::string(kHuggingFaceFolder) + "/";
  if (!line.huggingface.empty() &&
      (line.huggingface.compare(0, prefix.size(), prefix) != 0 ||
       line.huggingface.size() == prefix.size() || line.huggingface[prefix.size()] == '.' ||
       line.huggingface.find('/', prefix.size()) != std::string::npos)) {
    return bad(line.huggingface);
  }
  return absl::OkStatus();
}

}  // namespace

int64_t BatchOfCheckpoint(const std::string& name) {
  long long epoch = 0;
  long long batch = 0;
  int used = 0;
  if (sscanf(name.c_str(), "ep%lld-ba%lld%n", &epoch, &batch, &used) != 2) return -1;
  return static_cast<size_t>(used) == name.size() && epoch >= 0 ? batch : -1;
}

std::string Publisher::StagingPath(const v1::Lease& lease) {
  return Join(lease.artifact_path(),
              "attempts/" + std::to_string(lease.attempt().epoch()) + "/checkpoints");
}

absl::StatusOr<v1::RunEvent> Publisher::Publish(const v1::Lease& lease, const CheckpointLine& line,
                                                const std::function<bool()>& may_publish) const {
  FT_RETURN_IF_ERROR(CheckNames(line));
  FT_RETURN_IF_ERROR(store_.CheckMounted());
  const std::string staging = StagingPath(lease);
  const std::string& target = lease.checkpoints_path();
  v1::RunEvent event;
  event.set_type(v1::RunEvent::CHECKPOINT_SAVED);
  v1::Checkpoint& checkpoint = *event.mutable_checkpoint();
  PublishRequest request;
  request.epoch = lease.attempt().epoch();
  request.may_publish = may_publish;
  int64_t size_bytes = 0;
  std::map<std::string, std::string> also;
  if (!line.huggingface.empty()) {
    // First, so that the manifest of the checkpoint itself covers it.
    request.staging = Join(staging, line.huggingface);
    request.target = Join(target, line.huggingface);
    FT_ASSIGN_OR_RETURN(const Published published, PublishFolder(store_, request));
    also[line.huggingface] = published.manifest_sha256;
    size_bytes += published.manifest.SizeBytes();
    checkpoint.set_huggingface_path(request.target);
  }
  request.staging = Join(staging, line.name);
  request.target = Join(target, line.name);
  request.also = also;
  FT_ASSIGN_OR_RETURN(const Published published, PublishFolder(store_, request));
  // Publishing may have taken long, and a newer attempt may have moved the pointer since.
  if (!may_publish()) return absl::FailedPreconditionError("the lease is not certain any more");
  FT_RETURN_IF_ERROR(store_.WritePointer(target, line.name));
  checkpoint.set_name(line.name);
  checkpoint.set_path(request.target);
  checkpoint.set_attempt(lease.attempt().epoch());
  checkpoint.set_step(line.step);
  checkpoint.set_tokens(line.tokens);
  checkpoint.set_size_bytes(size_bytes + published.manifest.SizeBytes());
  checkpoint.set_manifest_sha256(published.manifest_sha256);
  checkpoint.mutable_metrics()->insert(line.metrics.begin(), line.metrics.end());
  return event;
}

absl::StatusOr<v1::ModelFiles> Publisher::Register(const v1::Lease& lease,
                                                   const std::string& checkpoint,
                                                   const std::function<bool()>& go_on,
                                                   const std::function<bool()>& may_publish) const {
  const auto staging_of = [&](int64_t epoch) {
    return Join(lease.artifact_path(), "attempts/" + std::to_string(epoch) + "/register");
  };
  FT_RETURN_IF_ERROR(store_.CheckMounted());
  PublishRequest request;
  request.staging = staging_of(lease.attempt().epoch());
  request.target = lease.register_path();
  request.epoch = lease.attempt().epoch();
  request.may_publish = may_publish;
  // What attempts before were copying when they were lost: it may be as large as the weights.
  for (int64_t epoch = 1; epoch < request.epoch; ++epoch) {
    FT_RETURN_IF_ERROR(store_.Delete(staging_of(epoch)));
  }
  FT_ASSIGN_OR_RETURN(const Published saved,
                      ReadPublished(store_, Join(lease.checkpoints_path(), checkpoint)));
  if (saved.manifest.also.empty()) {
    return absl::InvalidArgumentError("checkpoint " + checkpoint +
                                      " has no folder in the Hugging Face layout");
  }
  const std::string weights = Join(lease.checkpoints_path(), saved.manifest.also.begin()->first);
  FT_ASSIGN_OR_RETURN(Published source, ReadPublished(store_, weights));
  request.expected = std::move(source.manifest.files);
  absl::StatusOr<Published> published = ReadPublished(store_, request.target);
  // Perhaps this attempt has put it there already and could not say so. What a crash has left half
  // copied is still in its staging folder.
  const bool done = published.ok() && published->manifest.source == request.staging &&
                    absl::IsNotFound(store_.Head(request.staging).status());
  if (!done) {
    absl::Status status = CopyFolder(store_, weights, request.staging, go_on);
    if (status.ok()) {
      published = PublishFolder(store_, request);
      status = published.status();
    }
    if (!status.ok()) {
      // Room for everybody else; the next try begins anew.
      const absl::Status deleted = store_.Delete(request.staging);
      if (!deleted.ok()) {
        Log(LogLevel::kWarning, "a half copied model cannot be deleted",
            {{"run", lease.run()}, {"error", deleted}});
      }
      return status;
    }
  }
  v1::ModelFiles files;
  files.set_checkpoint(checkpoint);
  files.set_size_bytes(published->manifest.SizeBytes());
  files.set_manifest_sha256(published->manifest_sha256);
  return files;
}

absl::Status Publisher::Prune(const v1::Lease& lease, int64_t newest_step) const {
  const int32_t keep = lease.spec().save_num_to_keep();
  if (keep <= 0) return absl::OkStatus();
  const std::string& folder = lease.checkpoints_path();
  FT_ASSIGN_OR_RETURN(const std::vector<ArtifactStore::Entry> entries, store_.List(folder));
  struct Saved {
    int64_t batch;
    std::string name;
    std::vector<std::string> also;
  };
  std::vector<Saved> listed, unwanted;
  const std::string of_run = Join(lease.artifact_path(), "attempts/");
  const std::string of_attempt = StagingPath(lease) + "/";
  const auto& names = lease.checkpoints();
  // Daemons of the version before do not tell what is listed.
  const bool told = lease.resume_from().empty() || !names.empty();
  for (const ArtifactStore::Entry& entry : entries) {
    const int64_t batch = BatchOfCheckpoint(entry.name);
    if (!entry.is_folder || batch < 0) continue;
    const absl::StatusOr<Published> published = ReadPublished(store_, Join(folder, entry.name));
    // Only what this run has published: the folder may be another's too.
    if (!published.ok() || !absl::StartsWith(published->manifest.source, of_run)) continue;
    Saved saved{batch, entry.name, {}};
    for (const auto& [path, sha256] : published->manifest.also) saved.also.push_back(path);
    if (absl::StartsWith(published->manifest.source, of_attempt)) {
      if (batch <= newest_step) listed.push_back(std::move(saved));
    } else if (std::count(names.begin(), names.end(), entry.name) > 0) {
      listed.push_back(std::move(saved));
    } else if (told) {
      unwanted.push_back(std::move(saved));
    }
  }
  std::sort(listed.begin(), listed.end(),
            [](const Saved& a, const Saved& b) { return a.batch > b.batch; });
  const size_t kept = std::min(static_cast<size_t>(keep), listed.size());
  std::move(listed.begin() + static_cast<std::ptrdiff_t>(kept), listed.end(),
            std::back_inserter(unwanted));
  for (const Saved& saved : unwanted) {
    // The checkpoint goes first: a folder that lists another that is gone would be incomplete.
    FT_RETURN_IF_ERROR(store_.Delete(Join(folder, saved.name)));
    for (const std::string& path : saved.also) {
      FT_RETURN_IF_ERROR(store_.Delete(Join(folder, path)));
    }
    Log(LogLevel::kInfo, "checkpoint deleted, newer ones are kept",
        {{"run", lease.run()}, {"checkpoint", saved.name}});
  }
  return absl::OkStatus();
}

}  // namespace finetuned
