#include "cli/interrupt.h"

#include <utility>

namespace finetuned::cli {

Interrupt::Scope::Scope(Interrupt& interrupt, std::function<void()> cancel)
    : interrupt_(interrupt) {
  MutexLock lock(interrupt_.mutex_);
  interrupt_.cancel_ = std::move(cancel);
  if (interrupt_.requested_) interrupt_.cancel_();
}

// Under the lock, so that `cancel` is not running any more when what it cancels goes away.
Interrupt::Scope::~Scope() {
  MutexLock lock(interrupt_.mutex_);
  interrupt_.cancel_ = nullptr;
}

void Interrupt::Request() {
  MutexLock lock(mutex_);
  if (requested_) return;
  requested_ = true;
  if (cancel_) cancel_();
  changed_.NotifyAll();
}

bool Interrupt::requested() const {
  MutexLock lock(mutex_);
  return requested_;
}

void Interrupt::Wait(absl::Duration duration) {
  MutexLock lock(mutex_);
  // A spurious wakeup only shortens a wait between tries, which is harmless, so the wait is not
  // repeated.
  if (!requested_) changed_.WaitFor(mutex_, duration);
}

}  // namespace finetuned::cli
