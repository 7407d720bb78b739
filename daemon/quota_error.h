#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "daemon/service_core.h"

namespace finetuned {

// RESOURCE_EXHAUSTED `ACTIVE_RUNS_QUOTA`: the owner has as many active runs as it may. Says which,
// at most kShownHolders of `names`.
absl::Status ActiveRunsQuotaError(const ServiceCore& core, const std::string& email,
                                  const std::vector<std::string>& names, int active, int limit);

// A refusal for a quota, with QuotaFailure: `quota` as in its metadata, e.g. `active_runs`.
absl::Status WithQuotaFailure(absl::Status status, const std::string& email,
                              const std::string& quota, int usage, int limit);

}  // namespace finetuned
