#include "artifacts/artifact_store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "artifacts/artifact_file.h"
#include "artifacts/beneath.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/status.h"

namespace finetuned {
namespace {

constexpr char kNonceFolder[] = ".finetuned/nonces";
constexpr int64_t kMaxNonceBytes = 4096;
// Blocks of the common filesystems are of this size or smaller.
constexpr int64_t kHoleAlignment = 4096;

absl::StatusOr<ArtifactStore::Entry> Describe(int folder, const std::string& name) {
  struct stat info;
  if (fstatat(folder, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
    return ErrnoError(errno, "cannot read", name);
  }
  if (!S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode)) {
    return absl::InvalidArgumentError("neither a file nor a folder: " + name);
  }
  const bool is_folder = S_ISDIR(info.st_mode);
  return ArtifactStore::Entry{name, is_folder, is_folder ? 0 : static_cast<int64_t>(info.st_size)};
}

absl::Status CheckNonceName(const std::string& name) {
  const auto is_plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  };
  if (name.empty() || name.size() > 128 || !is_plain(name[0]) ||
      !std::all_of(name.begin(), name.end(),
                   [&](char c) { return is_plain(c) || c == '_' || c == '-'; })) {
    return absl::InvalidArgumentError("not a name of a nonce file");
  }
  return absl::OkStatus();
}

}  // namespace

std::string ArtifactStore::Absolute(std::string_view path) const {
  return path.empty() ? root_ : root_ + "/" + std::string(path);
}

absl::Status ArtifactStore::Check() const {
  const absl::Status status = OpenRoot(root_).status();
  if (status.ok()) return status;
  return UnavailableError(
      "ARTIFACT_ROOT_NOT_MOUNTED",
      "artifact_root: " + std::string(status.message()) + "; is the path right, and is it mounted?",
      absl::Seconds(1));
}

absl::Status ArtifactStore::Put(std::string_view path, std::string_view content) const {
  FT_ASSIGN_OR_RETURN(const ParentAndName at, OpenParentBeneath(root_, path, true));
  const std::string temporary = ".put-" + HexEncode(RandomBytes(8));
  const int folder = at.parent.get();
  OwnedFd fd(openat(folder, temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                    0644));
  if (!fd.valid()) return ErrnoError(errno, "cannot create", std::string(path));
  absl::Status status = WriteAll(fd.get(), content, std::string(path));
  if (status.ok() && fsync(fd.get()) != 0) {
    status = ErrnoError(errno, "cannot sync", std::string(path));
  }
  if (status.ok() && renameat(folder, temporary.c_str(), folder, at.name.c_str()) != 0) {
    status = ErrnoError(errno, "cannot replace", std::string(path));
  }
  if (!status.ok()) {
    unlinkat(folder, temporary.c_str(), 0);
    return status;
  }
  if (fsync(folder) != 0) return ErrnoError(errno, "cannot sync", std::string(path));
  return absl::OkStatus();
}

absl::Status ArtifactStore::WriteAt(std::string_view path, int64_t offset,
                                    std::string_view content) const {
  const std::string name(path);
  FT_ASSIGN_OR_RETURN(const ParentAndName at, OpenParentBeneath(root_, path, true));
  const OwnedFd fd(openat(at.parent.get(), at.name.c_str(),
                          O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0644));
  if (!fd.valid()) return ErrnoError(errno, "cannot open", name);
  struct stat info;
  if (fstat(fd.get(), &info) != 0) return ErrnoError(errno, "cannot look at", name);
  if (!S_ISREG(info.st_mode)) return absl::InvalidArgumentError(name + " is not a file");
  if (info.st_size < offset) {
    return absl::FailedPreconditionError(name + " is shorter than it was");
  }
  if (lseek(fd.get(), offset, SEEK_SET) < 0) return ErrnoError(errno, "cannot seek in", name);
  FT_RETURN_IF_ERROR(WriteAll(fd.get(), content, name));
  if (fdatasync(fd.get()) != 0) return ErrnoError(errno, "cannot sync", name);
  if (info.st_size == 0 && fsync(at.parent.get()) != 0) {
    return ErrnoError(errno, "cannot sync the folder of", name);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> ArtifactStore::Get(std::string_view path, int64_t max_bytes) const {
  std::string content;
  while (true) {
    const auto offset = static_cast<int64_t>(content.size());
    FT_ASSIGN_OR_RETURN(const Range range, ReadRange(path, offset, max_bytes - offset + 1));
    if (range.data.empty()) return content;
    content += range.data;
    if (static_cast<int64_t>(content.size()) > max_bytes) {
      return absl::OutOfRangeError("larger than expected: " + std::string(path));
    }
  }
}

absl::StatusOr<ArtifactStore::Range> ArtifactStore::ReadRange(std::string_view path, int64_t offset,
                                                              int64_t limit) const {
  if (offset < 0 || limit < 0) {
    return absl::InvalidArgumentError("offset and limit must not be negative");
  }
  FT_ASSIGN_OR_RETURN(const ArtifactFile file, ArtifactFile::Open(root_, path));
  const int64_t left = std::max<int64_t>(0, file.size_bytes() - offset);
  const auto wanted = static_cast<size_t>(std::min({limit, kMaxRangeBytes, left}));
  Range range;
  range.size_bytes = file.size_bytes();
  FT_ASSIGN_OR_RETURN(range.data, file.Read(offset, wanted));
  return range;
}

absl::StatusOr<std::vector<ArtifactStore::Entry>> ArtifactStore::List(std::string_view path) const {
  FT_ASSIGN_OR_RETURN(const OwnedFd folder, OpenFolderBeneath(root_, path, false));
  FT_ASSIGN_OR_RETURN(const std::vector<std::string> names, NamesIn(folder.get()));
  std::vector<Entry> entries;
  for (const std::string& name : names) {
    absl::StatusOr<Entry> entry = Describe(folder.get(), name);
    // Deleted meanwhile, or of another kind.
    if (entry.ok()) entries.push_back(*std::move(entry));
  }
  return entries;
}

absl::StatusOr<ArtifactStore::Entry> ArtifactStore::Head(std::string_view path) const {
  FT_ASSIGN_OR_RETURN(const ParentAndName at, OpenParentBeneath(root_, path, false));
  return Describe(at.parent.get(), at.name);
}

absl::Status ArtifactStore::Delete(std::string_view path) const {
  absl::StatusOr<ParentAndName> at = OpenParentBeneath(root_, path, false);
  if (absl::IsNotFound(at.status())) return absl::OkStatus();
  if (!at.ok()) return at.status();
  return DeleteTreeAt(at->parent.get(), at->name);
}

absl::Status ArtifactStore::MakeFolder(std::string_view path) const {
  return OpenFolderBeneath(root_, path, true).status();
}

absl::StatusOr<int64_t> ArtifactStore::DropMiddle(std::string_view path, int64_t head_bytes,
                                                  int64_t tail_bytes, int64_t max_bytes) const {
  const std::string name(path);
  FT_ASSIGN_OR_RETURN(const ParentAndName at, OpenParentBeneath(root_, path, false));
  const OwnedFd fd(
      openat(at.parent.get(), at.name.c_str(), O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!fd.valid()) return ErrnoError(errno, "cannot open", name);
  struct stat before;
  if (fstat(fd.get(), &before) != 0) return ErrnoError(errno, "cannot look at", name);
  if (!S_ISREG(before.st_mode)) return absl::InvalidArgumentError(name + " is not a file");
  constexpr int64_t kStatBlock = 512;
  if (before.st_blocks * kStatBlock <= max_bytes) return 0;
  // Only whole blocks are freed; of what is freed in part the rest would be zeros.
  const int64_t block = std::max<int64_t>(before.st_blksize, kHoleAlignment);
  const int64_t begin = (head_bytes + block - 1) / block * block;
  const int64_t end = (before.st_size - tail_bytes) / block * block;
  if (end <= begin) return 0;
  if (fallocate(fd.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, begin, end - begin) != 0) {
    if (errno == EOPNOTSUPP || errno == ENOSYS) {
      return absl::UnimplementedError("the filesystem of " + name + " cannot free parts of a file");
    }
    return ErrnoError(errno, "cannot free a part of", name);
  }
  struct stat after;
  if (fstat(fd.get(), &after) != 0) return ErrnoError(errno, "cannot look at", name);
  return std::max<int64_t>(0, (before.st_blocks - after.st_blocks) * kStatBlock);
}

absl::StatusOr<ArtifactStore::Kept> ArtifactStore::ReadKept(std::string_view path, int64_t offset,
                                                            int64_t limit) const {
  if (offset < 0 || limit < 0) {
    return absl::InvalidArgumentError("an offset or a limit is negative");
  }
  FT_ASSIGN_OR_RETURN(const OwnedFd fd, OpenFileBeneath(root_, path));
  struct stat info;
  if (fstat(fd.get(), &info) != 0) return ErrnoError(errno, "cannot look at", std::string(path));
  Kept kept;
  kept.size_bytes = info.st_size;
  kept.offset = offset;
  if (offset >= info.st_size) return kept;
  // Where the filesystem does not tell, all of it counts.
  if (const off_t data = lseek(fd.get(), offset, SEEK_DATA); data >= 0) {
    kept.offset = data;
  } else if (errno == ENXIO) {
    kept.offset = info.st_size;
  }
  int64_t end = info.st_size;
  if (const off_t hole = lseek(fd.get(), kept.offset, SEEK_HOLE); hole >= 0) end = hole;
  limit = std::min({limit, kMaxRangeBytes, std::max<int64_t>(0, end - kept.offset)});
  kept.data.resize(static_cast<size_t>(limit));
  size_t filled = 0;
  while (filled < kept.data.size()) {
    const ssize_t count = pread(fd.get(), kept.data.data() + filled, kept.data.size() - filled,
                                static_cast<off_t>(kept.offset) + static_cast<off_t>(filled));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return ErrnoError(errno, "cannot read", std::string(path));
    if (count == 0) break;
    filled += static_cast<size_t>(count);
  }
  kept.data.resize(filled);
  return kept;
}

absl::Status ArtifactStore::WriteNonce(const std::string& name, std::string_view nonce) const {
  FT_RETURN_IF_ERROR(CheckNonceName(name));
  return Put(std::string(kNonceFolder) + "/" + name, nonce);
}

absl::StatusOr<std::string> ArtifactStore::ReadNonce(const std::string& name) const {
  FT_RETURN_IF_ERROR(CheckNonceName(name));
  return Get(std::string(kNonceFolder) + "/" + name, kMaxNonceBytes);
}

absl::Status ArtifactStore::DeleteNonce(const std::string& name) const {
  FT_RETURN_IF_ERROR(CheckNonceName(name));
  return Delete(std::string(kNonceFolder) + "/" + name);
}

absl::StatusOr<uint64_t> ArtifactStore::RootMark() const {
  FT_ASSIGN_OR_RETURN(const OwnedFd folder, OpenFolderBeneath(root_, kNonceFolder, false));
  struct stat found;
  if (fstat(folder.get(), &found) != 0) return ErrnoError(errno, "cannot look at", kNonceFolder);
  return found.st_ino;
}

void ArtifactStore::ConfirmRoot() const {
  const absl::StatusOr<uint64_t> mark = RootMark();
  if (mark.ok()) confirmed_ = *mark;
}

absl::Status ArtifactStore::CheckMounted() const {
  const absl::StatusOr<uint64_t> mark = RootMark();
  if (!mark.ok() && !absl::IsNotFound(mark.status())) return mark.status();
  const uint64_t confirmed = confirmed_;
  if (mark.ok() && (confirmed == 0 || confirmed == *mark)) return absl::OkStatus();
  return UnavailableError("ARTIFACT_ROOT_NOT_MOUNTED",
                          "the artifact root " + root_ +
                              " is not the folder in which this worker and the daemon have met: is "
                              "it mounted?",
                          absl::Seconds(1));
}

absl::Status ArtifactStore::WritePointer(std::string_view checkpoints,
                                         const std::string& target) const {
  FT_RETURN_IF_ERROR(SplitArtifactPath(target).status());
  const std::string folder(checkpoints);
  return Put(folder.empty() ? kPointerName : folder + "/" + kPointerName, target);
}

}  // namespace finetuned
