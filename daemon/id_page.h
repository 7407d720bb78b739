#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "daemon/service_core.h"

// A page of what a workspace lists by id, the newest first: experiments, registered models.

namespace finetuned {

struct IdPage {
  std::vector<int64_t> ids;
  // Empty on the last page.
  std::string next_page_token;
};

// `list` gives up to `count` ids below `before`, descending; 0 stands for all. `collection` tells
// the tokens of one listing from those of another. INVALID_ARGUMENT names each wrong field of the
// request.
absl::StatusOr<IdPage> ReadIdPage(
    const ServiceCore& core, const Identity& caller, const std::string& collection,
    const std::string& parent, int32_t page_size, const std::string& page_token,
    absl::FunctionRef<absl::StatusOr<std::vector<int64_t>>(int64_t before, int count)> list);

}  // namespace finetuned
