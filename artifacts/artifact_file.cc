#include "artifacts/artifact_file.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/file.h"
#include "base/status.h"

namespace finetuned {

absl::StatusOr<ArtifactFile> ArtifactFile::Open(const std::string& root, std::string_view path) {
  FT_ASSIGN_OR_RETURN(OwnedFd fd, OpenFileBeneath(root, path));
  struct stat info;
  if (fstat(fd.get(), &info) != 0) return ErrnoError(errno, "cannot read", std::string(path));
  return ArtifactFile(std::move(fd), info.st_size);
}

absl::StatusOr<std::string> ArtifactFile::Read(int64_t offset, size_t limit) const {
  std::string data(limit, '\0');
  size_t filled = 0;
  while (filled < limit) {
    const ssize_t count =
        pread(fd_.get(), data.data() + filled, limit - filled, static_cast<off_t>(offset + filled));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return ErrnoError(errno, "cannot read", "the file");
    if (count == 0) break;
    filled += static_cast<size_t>(count);
  }
  data.resize(filled);
  return data;
}

}  // namespace finetuned
