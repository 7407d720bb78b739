#include "artifacts/publish.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "artifacts/beneath.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/status.h"

namespace finetuned {
namespace {

// Beside the target, hidden: a name of its own per target, so that what a crash left is found and
// deleted next time.
std::string AsideName(const std::string& name) { return ".replaced-" + name; }

bool AreSame(const std::vector<Manifest::File>& a, const std::vector<Manifest::File>& b) {
  return std::equal(
      a.begin(), a.end(), b.begin(), b.end(), [](const Manifest::File& x, const Manifest::File& y) {
        return x.path == y.path && x.size_bytes == y.size_bytes && x.sha256 == y.sha256;
      });
}

absl::StatusOr<Published> Recover(const ArtifactStore& store, const PublishRequest& request,
                                  const absl::Status& staging_status) {
  absl::StatusOr<Published> published = ReadPublished(store, request.target);
  if (!published.ok() || published->manifest.source != request.staging) return staging_status;
  FT_RETURN_IF_ERROR(VerifyPublished(store, request.target, published->manifest));
  return published;
}

absl::Status MoveIntoPlace(const ArtifactStore& store, const PublishRequest& request) {
  FT_ASSIGN_OR_RETURN(const ParentAndName from,
                      OpenParentBeneath(store.root(), request.staging, false));
  FT_ASSIGN_OR_RETURN(const ParentAndName to,
                      OpenParentBeneath(store.root(), request.target, true));
  const std::string aside = AsideName(to.name);
  const int folder = to.parent.get();
  const absl::StatusOr<Published> older = ReadPublished(store, request.target);
  if (older.ok() && older->manifest.epoch > request.epoch) {
    return absl::FailedPreconditionError("a later attempt has published " + request.target);
  }
  FT_RETURN_IF_ERROR(DeleteTreeAt(folder, aside));
  if (request.may_publish && !request.may_publish()) {
    return absl::FailedPreconditionError("the lease is not held any more");
  }
  if (renameat(folder, to.name.c_str(), folder, aside.c_str()) != 0 && errno != ENOENT) {
    return ErrnoError(errno, "cannot move aside", request.target);
  }
  if (renameat(from.parent.get(), from.name.c_str(), folder, to.name.c_str()) != 0) {
    return ErrnoError(errno, "cannot publish", request.target);
  }
  if (fsync(folder) != 0 || fsync(from.parent.get()) != 0) {
    return ErrnoError(errno, "cannot sync", request.target);
  }
  return DeleteTreeAt(folder, aside);
}

}  // namespace

absl::StatusOr<Published> PublishFolder(const ArtifactStore& store, const PublishRequest& request) {
  absl::StatusOr<std::vector<Manifest::File>> files =
      HashAndSyncTree(store.root(), request.staging);
  if (absl::IsNotFound(files.status())) return Recover(store, request, files.status());
  if (!files.ok()) return files.status();
  if (request.expected.has_value() && !AreSame(*files, *request.expected)) {
    return absl::DataLossError("the folder is not as expected: " + request.staging);
  }
  Published published;
  published.manifest.files = *std::move(files);
  published.manifest.source = request.staging;
  published.manifest.epoch = request.epoch;
  published.manifest.also = request.also;
  const std::string text = ManifestToJson(published.manifest);
  published.manifest_sha256 = Sha256Hex(text);
  FT_RETURN_IF_ERROR(store.Put(request.staging + "/" + kManifestName, text));
  FT_RETURN_IF_ERROR(MoveIntoPlace(store, request));
  return published;
}

absl::StatusOr<Published> ReadPublished(const ArtifactStore& store, const std::string& target) {
  FT_ASSIGN_OR_RETURN(const std::string text,
                      store.Get(target + "/" + kManifestName, kMaxManifestBytes));
  Published published;
  FT_ASSIGN_OR_RETURN(published.manifest, ManifestFromJson(text));
  published.manifest_sha256 = Sha256Hex(text);
  return published;
}

absl::Status VerifyPublished(const ArtifactStore& store, const std::string& target,
                             const Manifest& manifest) {
  FT_ASSIGN_OR_RETURN(const std::vector<Manifest::File> files,
                      HashAndSyncTree(store.root(), target));
  if (!AreSame(files, manifest.files)) {
    return absl::DataLossError("the folder does not match its manifest: " + target);
  }
  return absl::OkStatus();
}

}  // namespace finetuned
