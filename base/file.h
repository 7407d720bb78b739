#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

// Files of our own, read and written whole. Errors name the path and what the system said:
// NOT_FOUND, PERMISSION_DENIED, ALREADY_EXISTS, RESOURCE_EXHAUSTED (disk full) or INTERNAL.

namespace finetuned {

// Turns errno into a canonical error: "<what> <path>: <strerror>".
absl::Status ErrnoError(int error, std::string_view what, const std::string& path);

// The whole content. OUT_OF_RANGE when it is larger than max_bytes.
absl::StatusOr<std::string> ReadFile(const std::string& path, size_t max_bytes = 64 << 20);

// Replaces the file: readers see the old content or the new, also after a crash of the host
// (written beside it, fsync, rename, fsync of the folder).
absl::Status WriteFileAtomically(const std::string& path, std::string_view content,
                                 int mode = 0644);

// Makes a folder's entries durable.
absl::Status SyncDirectory(const std::string& path);

// Creates a folder and those above it; one that exists is fine.
absl::Status MakeDirectories(const std::string& path, int mode = 0755);

bool FileExists(const std::string& path);

}  // namespace finetuned
