#pragma once

#include <random>

#include "absl/time/time.h"

namespace finetuned {

// Waiting times between tries: exponential with full jitter, so that callers that failed together
// do not come back together. Not safe for concurrent use.
class Backoff {
 public:
  struct Options {
    absl::Duration initial = absl::Milliseconds(100);
    absl::Duration max = absl::Seconds(10);
  };

  Backoff() : Backoff(Options{}) {}
  explicit Backoff(const Options& options)
      : options_(options), ceiling_(options.initial), random_(std::random_device{}()) {}

  // The time to wait before the next try: uniform between half of the ceiling and the ceiling,
  // which doubles.
  absl::Duration Next() {
    const absl::Duration ceiling = ceiling_;
    ceiling_ = std::min(ceiling_ * 2, options_.max);
    return ceiling * std::uniform_real_distribution<double>(0.5, 1.0)(random_);
  }

  // After a success.
  void Reset() { ceiling_ = options_.initial; }

 private:
  Options options_;
  absl::Duration ceiling_;
  std::mt19937_64 random_;
};

}  // namespace finetuned
