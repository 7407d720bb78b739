#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "daemon/validate_run.h"

// The weights that a run is to start from, looked up when it is created: they must be there, and
// whose they are is remembered.

namespace finetuned {

struct WeightsSource {
  // The path for the specification: as it was given, and of a `latest-sharded-rank0.symlink` the
  // folder that it named now, so that every attempt starts from the same weights.
  std::string path;
  // Name of the run that has left them, in the caller's workspace; empty where no run has.
  std::string run;
};

// `path` has passed ValidateCreateRun. Reads the artifact root, and data roots that this host has:
// of others the worker will judge. FAILED_PRECONDITION `WEIGHTS_NOT_FOUND` for what is not there or
// holds no weights; UNAVAILABLE where the artifact root cannot be read now.
absl::StatusOr<WeightsSource> FindCustomWeights(const std::string& path, const RunPolicy& policy,
                                                const std::string& workspace);

absl::Status WeightsNotFound(const std::string& path, const std::string& why);

}  // namespace finetuned
