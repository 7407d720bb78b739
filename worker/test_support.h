#pragma once

// Helpers of this room's tests. Nothing here sleeps blindly: Eventually polls a condition until a
// deadline.

#include <gtest/gtest.h>
#include <poll.h>
#include <stdlib.h>

#include <functional>
#include <string>

#include "absl/time/time.h"
#include "base/clock.h"

namespace finetuned {

inline std::string NewTempFolder() {
  std::string pattern = ::testing::TempDir() + "worker-XXXXXX";
  return mkdtemp(pattern.data()) == nullptr ? "" : pattern;
}

inline bool Eventually(const std::function<bool()>& condition,
                       absl::Duration timeout = absl::Seconds(20)) {
  const absl::Duration until = RealClock::Get().SinceBoot() + timeout;
  while (!condition()) {
    if (RealClock::Get().SinceBoot() > until) return false;
    poll(nullptr, 0, 10);
  }
  return true;
}

}  // namespace finetuned
