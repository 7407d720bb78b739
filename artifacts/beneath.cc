#include "artifacts/beneath.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/file.h"
#include "base/status.h"

namespace finetuned {
namespace {

constexpr int kFolderFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;

absl::Status PathError(std::string_view path, const std::string& what) {
  return absl::InvalidArgumentError("the path \"" + std::string(path.substr(0, 200)) + "\" " +
                                    what);
}

// ELOOP and ENOTDIR both mean: something on the way is a link or a file, which no artifact path may
// contain.
absl::Status OpenError(int error, std::string_view path) {
  if (error == ELOOP || error == ENOTDIR) {
    return PathError(path, "leads through a symbolic link or a file");
  }
  return ErrnoError(error, "cannot open", std::string(path));
}

// The names in a folder, at most kMaxFolderEntries of them.
absl::StatusOr<std::vector<std::string>> SomeNamesIn(int folder) {
  // fdopendir takes the descriptor over, and its position is shared: open the folder anew.
  const int again = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (again < 0) return ErrnoError(errno, "cannot list", ".");
  DIR* directory = fdopendir(again);
  if (directory == nullptr) {
    const int error = errno;
    close(again);
    return ErrnoError(error, "cannot list", ".");
  }
  std::vector<std::string> names;
  errno = 0;
  while (const dirent* entry = readdir(directory)) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
    if (names.size() >= kMaxFolderEntries) break;
    errno = 0;
  }
  const int error = names.size() >= kMaxFolderEntries ? 0 : errno;
  closedir(directory);
  if (error != 0) return ErrnoError(error, "cannot list", ".");
  return names;
}

// Deletes whatever a program may have left: folders nested to any depth, of any size, and such as
// their owner may not write to. Never more than kMaxFolderDepth descriptors are open: what lies
// deeper is moved up beside the top and deleted after it.
class TreeDeleter {
 public:
  TreeDeleter(int top, std::string name) : top_(top), name_(std::move(name)) {}

  absl::Status Run() {
    FT_RETURN_IF_ERROR(Delete(top_, name_, 0));
    while (!moved_up_.empty()) {
      const std::string next = moved_up_.back();
      moved_up_.pop_back();
      FT_RETURN_IF_ERROR(Delete(top_, next, 0));
    }
    return absl::OkStatus();
  }

 private:
  absl::Status Delete(int folder, const std::string& name, int depth) {
    if (unlinkat(folder, name.c_str(), 0) == 0 || errno == ENOENT) return absl::OkStatus();
    if (errno != EISDIR && errno != EPERM) return ErrnoError(errno, "cannot delete", name);
    if (depth > kMaxFolderDepth) return MoveUp(folder, name);
    FT_RETURN_IF_ERROR(Empty(folder, name, depth));
    if (unlinkat(folder, name.c_str(), AT_REMOVEDIR) == 0 || errno == ENOENT) {
      return absl::OkStatus();
    }
    return ErrnoError(errno, "cannot delete", name);
  }

  absl::Status Empty(int folder, const std::string& name, int depth) {
    OwnedFd inside(openat(folder, name.c_str(), kFolderFlags));
    if (!inside.valid() && errno == EACCES &&
        fchmodat(folder, name.c_str(), 0700, AT_SYMLINK_NOFOLLOW) == 0) {
      inside = OwnedFd(openat(folder, name.c_str(), kFolderFlags));
    }
    if (!inside.valid()) {
      if (errno == ENOENT) return absl::OkStatus();
      return ErrnoError(errno, "cannot delete", name);
    }
    // Where it is another's, deleting says why it cannot be.
    if (fchmod(inside.get(), 0700) != 0) errno = 0;
    for (;;) {
      FT_ASSIGN_OR_RETURN(const std::vector<std::string> names, SomeNamesIn(inside.get()));
      if (names.empty()) return absl::OkStatus();
      for (const std::string& child : names) {
        FT_RETURN_IF_ERROR(Delete(inside.get(), child, depth + 1));
      }
    }
  }

  absl::Status MoveUp(int folder, const std::string& name) {
    const std::string target = name_ + ".deep-" + std::to_string(++count_);
    if (renameat(folder, name.c_str(), top_, target.c_str()) != 0) {
      return ErrnoError(errno, "cannot move up", name);
    }
    moved_up_.push_back(target);
    return absl::OkStatus();
  }

  const int top_;
  const std::string name_;
  int count_ = 0;
  std::vector<std::string> moved_up_;
};

}  // namespace

void OwnedFd::Reset() {
  if (fd_ >= 0) close(fd_);
  fd_ = -1;
}

absl::StatusOr<std::vector<std::string>> SplitArtifactPath(std::string_view path) {
  std::vector<std::string> parts;
  if (path.empty()) return parts;
  if (path.size() > kMaxArtifactPathBytes) return PathError(path, "is too long");
  if (path.front() == '/') return PathError(path, "is absolute; it must be relative to the root");
  for (const char c : path) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      return PathError(path, "contains a control character");
    }
  }
  size_t start = 0;
  while (start <= path.size()) {
    const size_t end = std::min(path.find('/', start), path.size());
    const std::string_view part = path.substr(start, end - start);
    if (part.empty()) return PathError(path, "has an empty component");
    if (part == "." || part == "..") return PathError(path, "has a component `.` or `..`");
    if (part.size() > kMaxArtifactNameBytes) return PathError(path, "has a component too long");
    parts.emplace_back(part);
    start = end + 1;
  }
  return parts;
}

absl::StatusOr<OwnedFd> OpenRoot(const std::string& root) {
  OwnedFd fd(open(root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) return ErrnoError(errno, "cannot open the artifact root", root);
  return fd;
}

static absl::StatusOr<OwnedFd> Walk(const std::string& root, std::string_view path,
                                    const std::vector<std::string>& parts, size_t count,
                                    bool create) {
  FT_ASSIGN_OR_RETURN(OwnedFd folder, OpenRoot(root));
  for (size_t i = 0; i < count; ++i) {
    OwnedFd next(openat(folder.get(), parts[i].c_str(), kFolderFlags));
    if (!next.valid() && errno == ENOENT && create) {
      if (mkdirat(folder.get(), parts[i].c_str(), 0755) != 0 && errno != EEXIST) {
        return ErrnoError(errno, "cannot create", std::string(path));
      }
      if (fsync(folder.get()) != 0) return ErrnoError(errno, "cannot sync", std::string(path));
      next = OwnedFd(openat(folder.get(), parts[i].c_str(), kFolderFlags));
    }
    if (!next.valid()) return OpenError(errno, path);
    folder = std::move(next);
  }
  return folder;
}

absl::StatusOr<OwnedFd> OpenFolderBeneath(const std::string& root, std::string_view path,
                                          bool create) {
  FT_ASSIGN_OR_RETURN(const std::vector<std::string> parts, SplitArtifactPath(path));
  return Walk(root, path, parts, parts.size(), create);
}

absl::StatusOr<ParentAndName> OpenParentBeneath(const std::string& root, std::string_view path,
                                                bool create) {
  FT_ASSIGN_OR_RETURN(const std::vector<std::string> parts, SplitArtifactPath(path));
  if (parts.empty()) return PathError(path, "names the root itself");
  ParentAndName result;
  FT_ASSIGN_OR_RETURN(result.parent, Walk(root, path, parts, parts.size() - 1, create));
  result.name = parts.back();
  return result;
}

absl::StatusOr<OwnedFd> OpenFileBeneath(const std::string& root, std::string_view path) {
  FT_ASSIGN_OR_RETURN(const ParentAndName at, OpenParentBeneath(root, path, false));
  // O_NONBLOCK: opening a fifo must not wait for a writer.
  OwnedFd fd(
      openat(at.parent.get(), at.name.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK));
  if (!fd.valid()) return OpenError(errno, path);
  struct stat info;
  if (fstat(fd.get(), &info) != 0) return ErrnoError(errno, "cannot read", std::string(path));
  if (!S_ISREG(info.st_mode)) return PathError(path, "is not a regular file");
  return fd;
}

absl::Status DeleteTreeAt(int folder, const std::string& name) {
  return TreeDeleter(folder, name).Run();
}

absl::StatusOr<std::vector<std::string>> NamesIn(int folder) {
  FT_ASSIGN_OR_RETURN(std::vector<std::string> names, SomeNamesIn(folder));
  if (names.size() >= kMaxFolderEntries) {
    return absl::ResourceExhaustedError("a folder has more entries than can be listed");
  }
  std::sort(names.begin(), names.end());
  return names;
}

absl::Status WriteAll(int fd, std::string_view content, const std::string& name) {
  while (!content.empty()) {
    const ssize_t written = write(fd, content.data(), content.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      return ErrnoError(errno, "cannot write", name);
    }
    content.remove_prefix(static_cast<size_t>(written));
  }
  return absl::OkStatus();
}

}  // namespace finetuned
