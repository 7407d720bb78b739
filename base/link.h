#pragma once

#include <cstddef>
#include <string_view>

namespace finetuned {

// Links that a trainer tells: pages where else its run can be seen.
inline constexpr size_t kMaxLinks = 16;
inline constexpr size_t kMaxLinkBytes = 2048;

// Whether `name` can be that of a system, `^[a-z][a-z0-9_-]{0,62}$`, and `page` an http or https
// address with a host, printable ASCII and not too long. Nothing is fetched.
bool IsLink(std::string_view name, std::string_view page);

}  // namespace finetuned
