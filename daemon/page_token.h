#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "db/reads.h"

// Page tokens are opaque and signed: they say where a listing goes on and carry no rights. They fit
// only the listing they came from, for the caller it was given to.

namespace finetuned {

// `scope` is what the listing is about: caller and filters, serialised.
std::string MakePageToken(const std::string& key, const std::string& scope, const RunPageKey& at);

// INVALID_ARGUMENT `BAD_PAGE_TOKEN`, the same for every way in which it can be wrong.
absl::StatusOr<RunPageKey> ReadPageToken(const std::string& key, const std::string& scope,
                                         const std::string& token);

}  // namespace finetuned
