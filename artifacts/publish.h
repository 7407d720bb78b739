#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "artifacts/artifact_store.h"
#include "artifacts/manifest.h"

namespace finetuned {

// Publishes a folder that an attempt has written: hashes and syncs it, writes its manifest.json,
// and renames it to its place, so that a folder that is there is complete and durable. Blocks for
// as long as reading the files takes.
//
// Repeatable: when the staging folder is gone and the target was published from it, as after a
// crash right behind the rename, the published folder is checked against its manifest and returned.
// An older folder of that name, left by an earlier attempt, is first renamed aside and deleted
// after. A crash at any instant leaves either folder whole.
//
// Errors: INVALID_ARGUMENT for a bad path or a tree that holds links or devices; NOT_FOUND when
// there is no such staging folder and nothing published from it; FAILED_PRECONDITION when
// `may_publish` says no right before the rename, or a later attempt has published that name;
// DATA_LOSS when the published folder does not match its manifest, or the staging folder not
// `expected`, before anything is moved; others as ArtifactStore.
struct PublishRequest {
  // Both relative to the root, on one filesystem.
  std::string staging;
  std::string target;
  int64_t epoch = 0;
  std::map<std::string, std::string> also;
  // What the staging folder must hold, where that is known.
  std::optional<std::vector<Manifest::File>> expected;
  // Asked again right before the rename.
  std::function<bool()> may_publish;
};
struct Published {
  Manifest manifest;
  std::string manifest_sha256;
};
absl::StatusOr<Published> PublishFolder(const ArtifactStore& store, const PublishRequest& request);

// The manifest of a published folder. NOT_FOUND without one.
absl::StatusOr<Published> ReadPublished(const ArtifactStore& store, const std::string& target);

// Reads every file that the manifest of a published folder has, and compares. What lies beside them
// does not matter. `go_on` is asked between pieces. DATA_LOSS when a file is absent or another;
// CANCELLED when `go_on` says no; others as ArtifactStore.
absl::Status VerifyPublished(const ArtifactStore& store, const std::string& target,
                             const Manifest& manifest, const std::function<bool()>& go_on);

}  // namespace finetuned
