#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "absl/strings/numbers.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"

namespace finetuned::bench {

// Ends the program where something is not as a benchmark needs it: it then has no figure.
inline void Require(bool condition, const char* what) {
  if (condition) return;
  fprintf(stderr, "benchmark: %s\n", what);
  abort();
}

// A number that a variable of the environment may set otherwise.
inline int64_t CountOf(const char* variable, int64_t otherwise) {
  const char* text = std::getenv(variable);
  int64_t count = otherwise;
  Require(text == nullptr || absl::SimpleAtoi(text, &count), "a variable is no number");
  return count;
}

// Lets time pass: that it does is what is measured.
inline void Wait(absl::Duration time) {
  absl::Notification never;
  never.WaitForNotificationWithTimeout(time);
}

}  // namespace finetuned::bench
