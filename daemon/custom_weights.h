#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "daemon/validate_run.h"

// The weights that a run is to start from, looked up when it is created: they must be there, and
// whose they are is remembered.

namespace finetuned {

// Name of the run of this workspace that has left what lies at `path`; empty where no run has.
// Pure.
std::string RunOfWeights(const std::string& path, const std::string& artifact_root,
                         const std::string& workspace);

// The path for the specification: as it was given, and of a `latest-sharded-rank0.symlink` the
// folder that it names now, so that every attempt starts from the same weights. `path` has passed
// ValidateCreateRun, and the caller may see the run that it belongs to. Reads the artifact root,
// and data roots that this host has: of others, and of what it may not read in them, the worker
// will judge. FAILED_PRECONDITION `WEIGHTS_NOT_FOUND` for what is not there or holds no weights;
// UNAVAILABLE where the artifact root cannot be read now.
absl::StatusOr<std::string> FindCustomWeights(const std::string& path, const RunPolicy& policy);

absl::Status WeightsNotFound(const std::string& path, const std::string& why);

}  // namespace finetuned
