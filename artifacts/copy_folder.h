#pragma once

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "artifacts/artifact_store.h"

namespace finetuned {

// Copies what lies in the published folder `from`, but not its manifest, to `to`, a staging folder
// that is to be published (publish.h): what was there is deleted first, and nothing is made
// durable. `go_on` is asked between pieces.
//
// Errors: NOT_FOUND; INVALID_ARGUMENT for a bad path or a tree that holds anything but files and
// folders; RESOURCE_EXHAUSTED for one that is too deep, or a full disk; CANCELLED when `go_on` says
// no; others as ArtifactStore.
absl::Status CopyFolder(const ArtifactStore& store, const std::string& from, const std::string& to,
                        const std::function<bool()>& go_on);

}  // namespace finetuned
