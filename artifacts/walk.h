#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "artifacts/artifact_store.h"

// Listing what lies beneath a folder, page by page.

namespace finetuned {

struct WalkEntry {
  // Relative to the folder that `top` names.
  std::string path;
  bool is_folder = false;
  int64_t size_bytes = 0;
  // As the manifest of the published folder has it that the file lies in, and of the manifest as it
  // is; empty without one.
  std::string sha256;
};

// Where an entry stands among the others: its path, with a `/` behind that of a folder.
std::string WalkKey(const WalkEntry& entry);

struct WalkOptions {
  // The folder whose paths are told; nothing outside it is looked at.
  std::string top;
  // The folder beneath `top` that is listed; empty for `top` itself. A file is listed alone.
  std::string path;
  // All files beneath it and no folders, or what lies in it.
  bool recursive = false;
  // Only entries after the one with this WalkKey, which may be gone; empty for the first page.
  std::string after;
  int limit = 1000;
};

// The entries in the order of their paths, a folder standing where the files in it would. What is
// neither file nor folder is left out. INVALID_ARGUMENT beyond kMaxFolderDepth; other errors as
// ArtifactStore::List.
absl::StatusOr<std::vector<WalkEntry>> Walk(const ArtifactStore& store, const WalkOptions& options);

}  // namespace finetuned
