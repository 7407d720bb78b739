#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace finetuned {

// The files under one configured root, a filesystem that the daemon and all workers see. Workers
// write, the daemon reads. Paths are relative to the root, `/`-separated, and never leave it: a
// path that is absolute, has `..` or leads through a symbolic link is INVALID_ARGUMENT. Absent is
// NOT_FOUND. Other failures of the filesystem are PERMISSION_DENIED, RESOURCE_EXHAUSTED (full) or
// INTERNAL, and may pass.
//
// Holds no open file between calls, so a remounted root is found again. All calls block on the
// filesystem. Safe for concurrent use.
class ArtifactStore {
 public:
  struct Entry {
    std::string name;
    bool is_folder = false;
    int64_t size_bytes = 0;
  };
  struct Range {
    std::string data;
    // Size of the whole file when it was read.
    int64_t size_bytes = 0;
  };

  explicit ArtifactStore(std::string root) : root_(std::move(root)) {}
  const std::string& root() const { return root_; }
  // The absolute path; for handing to another program only.
  std::string Absolute(std::string_view path) const;

  // Whether the root is a folder that can be opened. UNAVAILABLE `ARTIFACT_ROOT_NOT_MOUNTED` where
  // it is not, which may pass: it is a filesystem of its own.
  absl::Status Check() const;

  // Replaces the file atomically and durably, making the folders above it.
  absl::Status Put(std::string_view path, std::string_view content) const;
  // Writes these bytes where the file has so many before them, durably, making the file and the
  // folders above it: for a file that grows. FAILED_PRECONDITION when it has fewer.
  absl::Status WriteAt(std::string_view path, int64_t offset, std::string_view content) const;
  // The whole file. OUT_OF_RANGE when it is larger than `max_bytes`.
  absl::StatusOr<std::string> Get(std::string_view path, int64_t max_bytes) const;
  // At most `limit` bytes from `offset`; empty at or after the end. INVALID_ARGUMENT for a negative
  // offset or limit. A limit above kMaxRangeBytes is lowered to it.
  static constexpr int64_t kMaxRangeBytes = 4 << 20;
  absl::StatusOr<Range> ReadRange(std::string_view path, int64_t offset, int64_t limit) const;
  // Frees what lies between the first and the last so many bytes of a file that takes more than
  // `max_bytes` of the disk; its size and the places of the rest stay. Returns how much was freed.
  // UNIMPLEMENTED where the filesystem cannot.
  absl::StatusOr<int64_t> DropMiddle(std::string_view path, int64_t head_bytes, int64_t tail_bytes,
                                     int64_t max_bytes) const;
  // As ReadRange, from the first byte at or after `offset` that was not freed, and not beyond the
  // next that was.
  struct Kept {
    std::string data;
    int64_t offset = 0;
    int64_t size_bytes = 0;
  };
  absl::StatusOr<Kept> ReadKept(std::string_view path, int64_t offset, int64_t limit) const;
  // What lies in a folder, sorted by name. What is neither file nor folder is left out.
  absl::StatusOr<std::vector<Entry>> List(std::string_view path) const;
  // What a path names. A link, fifo or device is INVALID_ARGUMENT.
  absl::StatusOr<Entry> Head(std::string_view path) const;
  // Deletes a file or a folder with all in it. An absent one is fine.
  absl::Status Delete(std::string_view path) const;
  // Makes a folder and those above it. One that exists is fine.
  absl::Status MakeFolder(std::string_view path) const;

  // The proof that two programs see the same root: one writes a nonce, the other reads it.
  // INVALID_ARGUMENT for a name that is not `^[A-Za-z0-9][A-Za-z0-9_-]{0,127}$`.
  absl::Status WriteNonce(const std::string& name, std::string_view nonce) const;
  absl::StatusOr<std::string> ReadNonce(const std::string& name) const;
  absl::Status DeleteNonce(const std::string& name) const;

  // Remembers the root as it is now, because the daemon has just read a nonce from it.
  void ConfirmRoot() const;

  // Whether the root is the one that was confirmed last; before that, whether a nonce was ever
  // written to it. UNAVAILABLE for another: of a filesystem that is not mounted the empty mount
  // point is left, where writing goes well and everything is absent.
  absl::Status CheckMounted() const;

  // Points the text file `latest` in the folder `checkpoints` at a checkpoint, atomically. The
  // content is `target`, a path relative to `checkpoints`, without a newline.
  absl::Status WritePointer(std::string_view checkpoints, const std::string& target) const;
  static constexpr char kPointerName[] = "latest-sharded-rank0.symlink";

 private:
  // The number that its filesystem gives the folder of nonces; it stays the same when the
  // filesystem is mounted again. Nothing without such a folder.
  absl::StatusOr<uint64_t> RootMark() const;

  const std::string root_;
  // 0: none yet.
  mutable std::atomic<uint64_t> confirmed_{0};
};

}  // namespace finetuned
