#pragma once

#include <set>
#include <vector>

#include "absl/status/statusor.h"
#include "finetuned/v1/run.pb.h"
#include "worker/gpus.h"

namespace finetuned {

// What this host has: all cores, all memory, the GPUs that were found; fields set in `configured`
// win. INVALID_ARGUMENT for negative ones.
absl::StatusOr<v1::Compute> ResolveCapacity(const v1::Compute& configured,
                                            const std::vector<Gpu>& gpus);

// What is left of `total` beside `used`. Never below zero. An attempt that does not state its
// memory counts none.
v1::Compute FreeCapacity(const v1::Compute& total, const std::vector<v1::Compute>& used);

// The lowest `count` indices below `total` that are not in use; fewer when there are not enough.
std::vector<int> AssignGpus(int total, const std::set<int>& in_use, int count);

}  // namespace finetuned
