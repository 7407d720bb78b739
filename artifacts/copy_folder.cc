#include "artifacts/copy_folder.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

#include "artifacts/beneath.h"
#include "artifacts/manifest.h"
#include "base/file.h"
#include "base/status.h"

namespace finetuned {
namespace {

constexpr size_t kPieceBytes = 1 << 20;

class Copier {
 public:
  Copier(const ArtifactStore& store, const std::function<bool()>& go_on)
      : store_(store), go_on_(go_on) {}

  absl::Status CopyTree(const std::string& from, const std::string& to, int depth) {
    if (depth > kMaxFolderDepth) return absl::ResourceExhaustedError("too deep: " + from);
    // A list leaves out what is neither file nor folder, and a copy must not.
    FT_ASSIGN_OR_RETURN(const OwnedFd folder, OpenFolderBeneath(store_.root(), from, false));
    FT_ASSIGN_OR_RETURN(const std::vector<std::string> names, NamesIn(folder.get()));
    FT_RETURN_IF_ERROR(store_.MakeFolder(to));
    for (const std::string& name : names) {
      if (depth == 0 && name == kManifestName) continue;
      const std::string inner = from + "/" + name;
      FT_ASSIGN_OR_RETURN(const ArtifactStore::Entry entry, store_.Head(inner));
      FT_RETURN_IF_ERROR(entry.is_folder ? CopyTree(inner, to + "/" + name, depth + 1)
                                         : CopyFile(inner, to + "/" + name));
    }
    return absl::OkStatus();
  }

 private:
  absl::Status CopyFile(const std::string& from, const std::string& to) {
    FT_ASSIGN_OR_RETURN(const OwnedFd in, OpenFileBeneath(store_.root(), from));
    FT_ASSIGN_OR_RETURN(const ParentAndName at, OpenParentBeneath(store_.root(), to, true));
    const OwnedFd out(openat(at.parent.get(), at.name.c_str(),
                             O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644));
    if (!out.valid()) return ErrnoError(errno, "cannot create", to);
    while (true) {
      if (go_on_ && !go_on_()) return absl::CancelledError("copying was ended: " + to);
      const ssize_t size = read(in.get(), buffer_.data(), buffer_.size());
      if (size == 0) return absl::OkStatus();
      if (size < 0 && errno == EINTR) continue;
      if (size < 0) return ErrnoError(errno, "cannot read", from);
      FT_RETURN_IF_ERROR(WriteAll(out.get(), {buffer_.data(), static_cast<size_t>(size)}, to));
    }
  }

  const ArtifactStore& store_;
  const std::function<bool()>& go_on_;
  std::vector<char> buffer_ = std::vector<char>(kPieceBytes);
};

}  // namespace

absl::Status CopyFolder(const ArtifactStore& store, const std::string& from, const std::string& to,
                        const std::function<bool()>& go_on) {
  FT_RETURN_IF_ERROR(store.Delete(to));
  return Copier(store, go_on).CopyTree(from, to, 0);
}

}  // namespace finetuned
