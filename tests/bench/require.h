#pragma once

#include <cstdio>
#include <cstdlib>

#include "absl/synchronization/notification.h"
#include "absl/time/time.h"

namespace finetuned::bench {

// Ends the program where something is not as a benchmark needs it: it then has no figure.
inline void Require(bool condition, const char* what) {
  if (condition) return;
  fprintf(stderr, "benchmark: %s\n", what);
  abort();
}

// Lets time pass: that it does is what is measured.
inline void Wait(absl::Duration time) {
  absl::Notification never;
  never.WaitForNotificationWithTimeout(time);
}

}  // namespace finetuned::bench
