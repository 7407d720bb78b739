#include "base/clock.h"

#include <time.h>

#include "absl/time/clock.h"

namespace finetuned {

const RealClock& RealClock::Get() {
  static const RealClock clock;
  return clock;
}

absl::Time RealClock::Now() const { return absl::Now(); }

absl::Duration RealClock::SinceBoot() const {
  timespec spec;
  clock_gettime(CLOCK_BOOTTIME, &spec);
  return absl::DurationFromTimespec(spec);
}

absl::Time FakeClock::Now() const {
  MutexLock lock(mutex_);
  return now_;
}

absl::Duration FakeClock::SinceBoot() const {
  MutexLock lock(mutex_);
  return since_boot_;
}

void FakeClock::Advance(absl::Duration duration) {
  MutexLock lock(mutex_);
  now_ += duration;
  since_boot_ += duration;
}

}  // namespace finetuned
