#pragma once

#include "absl/time/time.h"
#include "base/mutex.h"

namespace finetuned {

// Where time comes in. All implementations are safe for concurrent use.
class Clock {
 public:
  virtual ~Clock() = default;
  // Wall-clock time, for people and logs; never decides anything by itself.
  virtual absl::Time Now() const = 0;
  // Time since the host booted, suspension included (CLOCK_BOOTTIME): for deadlines and leases.
  virtual absl::Duration SinceBoot() const = 0;
};

// The host's clocks.
class RealClock final : public Clock {
 public:
  // One is enough for a process.
  static const RealClock& Get();
  absl::Time Now() const override;
  absl::Duration SinceBoot() const override;
};

// A clock that a test moves.
class FakeClock final : public Clock {
 public:
  explicit FakeClock(absl::Time start = absl::FromUnixSeconds(1700000000)) : now_(start) {}
  absl::Time Now() const override;
  absl::Duration SinceBoot() const override;
  void Advance(absl::Duration duration);

 private:
  mutable Mutex mutex_;
  absl::Time now_ ABSL_GUARDED_BY(mutex_);
  absl::Duration since_boot_ ABSL_GUARDED_BY(mutex_) = absl::Hours(1);
};

}  // namespace finetuned
