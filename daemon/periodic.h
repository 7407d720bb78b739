#pragma once

#include <functional>
#include <string>
#include <thread>

#include "absl/time/time.h"
#include "base/clock.h"
#include "base/mutex.h"

namespace finetuned {

// Runs a function again and again on a thread of its own: after an interval, or at once where it is
// triggered, but never within `floor` after the last time it began. Start returns when the thread
// runs; Stop returns when it has ended, may be called twice, and before Start.
class Periodic {
 public:
  Periodic(absl::Duration interval, std::function<void()> body,
           absl::Duration floor = absl::ZeroDuration())
      : interval_(interval), floor_(floor), body_(std::move(body)) {}
  ~Periodic() { Stop(); }
  Periodic(const Periodic&) = delete;
  Periodic& operator=(const Periodic&) = delete;

  void Start() {
    thread_ = std::thread([this] { Loop(); });
  }

  void Stop() {
    {
      MutexLock lock(mutex_);
      stopping_ = true;
      changed_.NotifyAll();
    }
    if (thread_.joinable()) thread_.join();
  }

  // Has it run without waiting for the interval. From any thread.
  void Trigger() {
    MutexLock lock(mutex_);
    triggered_ = true;
    changed_.NotifyAll();
  }

 private:
  void Loop() {
    for (;;) {
      const absl::Duration floor_end = RealClock::Get().SinceBoot() + floor_;
      body_();
      MutexLock lock(mutex_);
      if (!stopping_ && !triggered_) changed_.WaitFor(mutex_, interval_);
      // Other triggers that come meanwhile are the same one.
      for (absl::Duration left = floor_end - RealClock::Get().SinceBoot();
           !stopping_ && left > absl::ZeroDuration();
           left = floor_end - RealClock::Get().SinceBoot()) {
        changed_.WaitFor(mutex_, left);
      }
      if (stopping_) return;
      triggered_ = false;
    }
  }

  const absl::Duration interval_, floor_;
  const std::function<void()> body_;
  std::thread thread_;

  Mutex mutex_;
  CondVar changed_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  bool triggered_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace finetuned
