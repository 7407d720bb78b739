#pragma once

#include "absl/time/time.h"
#include "base/clock.h"

namespace finetuned {

// For what reads all that waits, and takes the longer the more that is: it is done when it is
// asked for, but takes no more than a hundredth of the time. Not safe for concurrent use.
class Sparing {
 public:
  explicit Sparing(const Clock* clock) : clock_(*clock) {}

  template <typename Work>
  void Do(const Work& work) {
    const absl::Duration begin = clock_.SinceBoot();
    if (begin < next_) return;
    work();
    const absl::Duration end = clock_.SinceBoot();
    next_ = end + 99 * (end - begin);
  }

 private:
  const Clock& clock_;
  absl::Duration next_ = -absl::InfiniteDuration();
};

}  // namespace finetuned
