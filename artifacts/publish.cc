#include "artifacts/publish.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "absl/strings/str_cat.h"
#include "artifacts/artifact_file.h"
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

absl::StatusOr<std::string> HashFile(const ArtifactFile& file, const std::function<bool()>& go_on) {
  constexpr size_t kPieceBytes = 1 << 20;
  Sha256Stream sha256;
  for (int64_t offset = 0; offset < file.size_bytes();) {
    if (!go_on()) return absl::CancelledError("not wanted any more");
    FT_ASSIGN_OR_RETURN(const std::string piece, file.Read(offset, kPieceBytes));
    // It has become shorter.
    if (piece.empty()) break;
    sha256.Add(piece);
    offset += static_cast<int64_t>(piece.size());
  }
  return sha256.Hex();
}

absl::StatusOr<Published> Recover(const ArtifactStore& store, const PublishRequest& request,
                                  const absl::Status& staging_status) {
  absl::StatusOr<Published> published = ReadPublished(store, request.target);
  if (!published.ok() || published->manifest.source != request.staging) return staging_status;
  FT_RETURN_IF_ERROR(
      VerifyPublished(store, request.target, published->manifest, [] { return true; }));
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
                             const Manifest& manifest, const std::function<bool()>& go_on) {
  for (const Manifest::File& file : manifest.files) {
    const std::string path = target + "/" + file.path;
    const absl::StatusOr<ArtifactFile> opened = ArtifactFile::Open(store.root(), path);
    if (absl::IsNotFound(opened.status()) || absl::IsInvalidArgument(opened.status())) {
      return absl::DataLossError(absl::StrCat(path, " is in the manifest and not there"));
    }
    FT_RETURN_IF_ERROR(opened.status());
    if (opened->size_bytes() != file.size_bytes) {
      return absl::DataLossError(absl::StrCat(path, " has ", opened->size_bytes(),
                                              " bytes, in the manifest ", file.size_bytes));
    }
    FT_ASSIGN_OR_RETURN(const std::string sha256, HashFile(*opened, go_on));
    if (sha256 != file.sha256) {
      return absl::DataLossError(absl::StrCat(path, " does not match the manifest"));
    }
  }
  return absl::OkStatus();
}

}  // namespace finetuned
