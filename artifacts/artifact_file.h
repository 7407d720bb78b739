#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "artifacts/beneath.h"

namespace finetuned {

// A file beneath a root, open for reading: what is read stays one file, whatever becomes of its
// name meanwhile. Not safe for concurrent use.
class ArtifactFile {
 public:
  // Errors as OpenFileBeneath.
  static absl::StatusOr<ArtifactFile> Open(const std::string& root, std::string_view path);

  int64_t size_bytes() const { return size_bytes_; }
  // The bytes from `offset` on, at most `limit`; empty at the end.
  absl::StatusOr<std::string> Read(int64_t offset, size_t limit) const;

 private:
  ArtifactFile(OwnedFd fd, int64_t size_bytes) : fd_(std::move(fd)), size_bytes_(size_bytes) {}

  OwnedFd fd_;
  int64_t size_bytes_;
};

}  // namespace finetuned
