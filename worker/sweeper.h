#pragma once

#include <functional>

#include "absl/status/status.h"
#include "artifacts/artifact_store.h"
#include "finetuned/v1/worker_service.pb.h"

namespace finetuned {

// Deletes the files that one answer of SweepFiles names; what is absent is fine, and what can never
// be deleted (a link, a folder that is shut) is logged and passed over. UNAVAILABLE while the
// artifact root is not the one in which worker and daemon have met; others as
// ArtifactStore::Delete. `go_on` is asked between runs: CANCELLED when it says no.
absl::Status DeleteSweptFiles(const ArtifactStore& store, const v1::SweepFilesResponse& sweep,
                              const std::function<bool()>& go_on);

}  // namespace finetuned
