#pragma once

#include <string>
#include <string_view>

#include "absl/time/time.h"

namespace finetuned {

// A UUID of version 7 (RFC 9562): ascending with `now`, otherwise random.
std::string NewUuid(absl::Time now);

// Whether text is a UUID in the 8-4-4-4-12 form, of any version, and not the nil UUID.
bool IsUuid(std::string_view text);

}  // namespace finetuned
