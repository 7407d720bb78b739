#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace finetuned {

// The list of what a published folder holds, kept in it as `manifest.json`. The text is
// deterministic: equal content gives equal bytes, so its SHA-256 stands for the folder.
struct Manifest {
  struct File {
    // Relative to the folder.
    std::string path;
    int64_t size_bytes = 0;
    std::string sha256;
  };

  // Ascending by path; the manifest itself is not listed.
  std::vector<File> files;
  // The staging folder it was published from, relative to the root; says whose it is.
  std::string source;
  // The attempt that published it; a lower one never replaces it.
  int64_t epoch = 0;
  // SHA-256 of the manifests of folders that belong to it, by path.
  std::map<std::string, std::string> also;

  int64_t SizeBytes() const;
};

inline constexpr char kManifestName[] = "manifest.json";
inline constexpr int64_t kMaxManifestBytes = 64 << 20;

std::string ManifestToJson(const Manifest& manifest);
// INVALID_ARGUMENT for a text that is not a manifest.
absl::StatusOr<Manifest> ManifestFromJson(std::string_view text);

// Reads a folder tree: hashes every file and makes each, and each folder, durable. INVALID_ARGUMENT
// when the tree holds a symbolic link or anything but files and folders; RESOURCE_EXHAUSTED beyond
// the limits of beneath.h; NOT_FOUND.
absl::StatusOr<std::vector<Manifest::File>> HashAndSyncTree(const std::string& root,
                                                            std::string_view path);

}  // namespace finetuned
