#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

// Opening files that may never lie outside a root folder. A path is taken apart into its
// components, each is checked, and each is opened relative to the folder before it without
// following symbolic links. That is as strict as openat2(RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS),
// works on every kernel and network filesystem, and is the only way this room reaches a file.

namespace finetuned {

inline constexpr size_t kMaxArtifactPathBytes = 1024;
inline constexpr size_t kMaxArtifactNameBytes = 255;

// A file descriptor that is closed with its owner. Not safe for concurrent use.
class OwnedFd {
 public:
  OwnedFd() = default;
  explicit OwnedFd(int fd) : fd_(fd) {}
  OwnedFd(OwnedFd&& other) noexcept : fd_(other.Release()) {}
  OwnedFd& operator=(OwnedFd&& other) noexcept {
    if (this != &other) {
      Reset();
      fd_ = other.Release();
    }
    return *this;
  }
  OwnedFd(const OwnedFd&) = delete;
  OwnedFd& operator=(const OwnedFd&) = delete;
  ~OwnedFd() { Reset(); }

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  int Release() {
    const int fd = fd_;
    fd_ = -1;
    return fd;
  }
  void Reset();

 private:
  int fd_ = -1;
};

// The components of a relative path. INVALID_ARGUMENT when it is absolute, too long, contains a NUL
// or a control character, or has a component that is empty, `.`, `..` or too long. The empty path
// is the root: no components.
absl::StatusOr<std::vector<std::string>> SplitArtifactPath(std::string_view path);

// Opens the root itself. It is the operator's, so it may be a symbolic link.
absl::StatusOr<OwnedFd> OpenRoot(const std::string& root);

// Opens a folder beneath `root`. NOT_FOUND when it is absent; INVALID_ARGUMENT for a bad path, or
// when a component is a symbolic link or not a folder. With `create`, missing folders are made and
// made durable.
absl::StatusOr<OwnedFd> OpenFolderBeneath(const std::string& root, std::string_view path,
                                          bool create);

// The folder that holds the last component, opened, and that component's name. INVALID_ARGUMENT
// also for the root.
struct ParentAndName {
  OwnedFd parent;
  std::string name;
};
absl::StatusOr<ParentAndName> OpenParentBeneath(const std::string& root, std::string_view path,
                                                bool create);

// Opens a regular file for reading. Errors as OpenFolderBeneath; a fifo or a device is
// INVALID_ARGUMENT.
absl::StatusOr<OwnedFd> OpenFileBeneath(const std::string& root, std::string_view path);

// Writes all of it where the file stands; `name` is for the error. Nothing is synced.
absl::Status WriteAll(int fd, std::string_view content, const std::string& name);

// Folders of an artifact may be nested this deep.
inline constexpr int kMaxFolderDepth = 32;

// Deletes the entry `name` of the folder, with everything beneath it, however deep, large or
// protected, never following a link. An absent one is fine. On the way, folders from far down may
// lie beside it as `<name>.deep-<n>`.
absl::Status DeleteTreeAt(int folder, const std::string& name);

// The names in a folder, sorted, without `.` and `..`. RESOURCE_EXHAUSTED beyond kMaxFolderEntries.
inline constexpr size_t kMaxFolderEntries = 100'000;
absl::StatusOr<std::vector<std::string>> NamesIn(int folder);

}  // namespace finetuned
