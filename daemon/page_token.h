#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

// Pages of listings. Page tokens are opaque and signed: they say where a listing goes on and carry
// no rights. They fit only the listing they came from, for the caller it was given to.

namespace finetuned {

// The size of a page: 100 for 0, at most 1,000. INVALID_ARGUMENT for a negative one.
absl::StatusOr<int> PageSize(int32_t asked);

// `scope` is what the listing is about: method, caller and filters, serialised. `at` is the key of
// the last row of the page before.
std::string MakePageToken(const std::string& key, const std::string& scope,
                          const std::vector<int64_t>& at);

// INVALID_ARGUMENT `BAD_PAGE_TOKEN`, the same for every way in which it can be wrong; one is a key
// of another length than `length`.
absl::StatusOr<std::vector<int64_t>> ReadPageToken(const std::string& key, const std::string& scope,
                                                   const std::string& token, size_t length);

// The same for rows that are known by a text.
std::string MakeTextPageToken(const std::string& key, const std::string& scope,
                              const std::string& at);
absl::StatusOr<std::string> ReadTextPageToken(const std::string& key, const std::string& scope,
                                              const std::string& token);

}  // namespace finetuned
