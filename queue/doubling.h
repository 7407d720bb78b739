#pragma once

#include <algorithm>
#include <cstdint>

#include "absl/time/time.h"

namespace finetuned {

// `first`, doubled so many times, and never longer than `longest`.
inline absl::Duration Doubled(absl::Duration first, int times, absl::Duration longest) {
  // More make no difference to a time that has a longest.
  constexpr int kMost = 30;
  return std::min(first * (int64_t{1} << std::clamp(times, 0, kMost)), longest);
}

}  // namespace finetuned
