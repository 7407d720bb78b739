#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "base/hash.h"
#include "base/strings.h"

namespace finetuned {
namespace {

class Fd {
 public:
  explicit Fd(int fd) : fd_(fd) {}
  ~Fd() {
    if (fd_ >= 0) close(fd_);
  }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

absl::StatusCode CodeOf(int error) {
  switch (error) {
    case ENOENT:
    case ENOTDIR: return absl::StatusCode::kNotFound;
    case EACCES:
    case EPERM:
    case EROFS: return absl::StatusCode::kPermissionDenied;
    case EEXIST: return absl::StatusCode::kAlreadyExists;
    case ENOSPC:
    case EDQUOT:
    case EMFILE:
    case ENFILE: return absl::StatusCode::kResourceExhausted;
    default: return absl::StatusCode::kInternal;
  }
}

}  // namespace

absl::Status ErrnoError(int error, std::string_view what, const std::string& path) {
  return absl::Status(CodeOf(error), absl::StrCat(A(what), " ", path, ": ", strerror(error)));
}

absl::StatusOr<std::string> ReadFile(const std::string& path, size_t max_bytes) {
  Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd.get() < 0) return ErrnoError(errno, "cannot open", path);
  std::string content;
  char buffer[64 * 1024];
  for (;;) {
    const ssize_t count = read(fd.get(), buffer, sizeof(buffer));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return ErrnoError(errno, "cannot read", path);
    if (count == 0) return content;
    if (content.size() + static_cast<size_t>(count) > max_bytes) {
      return absl::OutOfRangeError(absl::StrCat(path, " is larger than ", max_bytes, " bytes"));
    }
    content.append(buffer, static_cast<size_t>(count));
  }
}

absl::Status WriteFileAtomically(const std::string& path, std::string_view content, int mode) {
  const std::string temporary = absl::StrCat(path, ".tmp-", HexEncode(RandomBytes(6)));
  {
    Fd fd(open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode));
    if (fd.get() < 0) return ErrnoError(errno, "cannot create", temporary);
    size_t written = 0;
    while (written < content.size()) {
      const ssize_t count = write(fd.get(), content.data() + written, content.size() - written);
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) {
        const int error = errno;
        unlink(temporary.c_str());
        return ErrnoError(error, "cannot write", temporary);
      }
      written += static_cast<size_t>(count);
    }
    if (fsync(fd.get()) != 0) {
      const int error = errno;
      unlink(temporary.c_str());
      return ErrnoError(error, "cannot sync", temporary);
    }
  }
  if (rename(temporary.c_str(), path.c_str()) != 0) {
    const int error = errno;
    unlink(temporary.c_str());
    return ErrnoError(error, "cannot replace", path);
  }
  const std::string folder = std::filesystem::path(path).parent_path().string();
  return SyncDirectory(folder.empty() ? "." : folder);
}

absl::Status SyncDirectory(const std::string& path) {
  Fd fd(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd.get() < 0) return ErrnoError(errno, "cannot open folder", path);
  if (fsync(fd.get()) != 0) return ErrnoError(errno, "cannot sync folder", path);
  return absl::OkStatus();
}

absl::Status MakeDirectories(const std::string& path, int mode) {
  std::string partial;
  for (const auto& part : std::filesystem::path(path)) {
    partial = partial.empty() ? part.string() : (std::filesystem::path(partial) / part).string();
    if (partial.empty() || partial == "/") continue;
    if (mkdir(partial.c_str(), static_cast<mode_t>(mode)) != 0 && errno != EEXIST) {
      const int error = errno;
      if (FileExists(partial)) continue;
      return ErrnoError(error, "cannot create folder", partial);
    }
  }
  return absl::OkStatus();
}

bool FileExists(const std::string& path) {
  struct stat info;
  return stat(path.c_str(), &info) == 0;
}

}  // namespace finetuned
