#pragma once

#include <string_view>

#include "absl/strings/string_view.h"

namespace finetuned {

// Bridges between the two string_views. Debian builds Abseil with a string_view of its own, which
// converts to and from std::string_view in neither direction; elsewhere they are one type and these
// do nothing.
inline absl::string_view A(std::string_view s) { return {s.data(), s.size()}; }
inline std::string_view S(absl::string_view s) { return {s.data(), s.size()}; }

}  // namespace finetuned
