#pragma once

#include <functional>

#include "absl/time/time.h"
#include "base/mutex.h"

namespace finetuned::cli {

// Ctrl-C, as the rest of the program sees it: a wait that ends early and a call that is cancelled,
// so that a command can leave the terminal tidy and say what goes on without it. Safe for
// concurrent use.
class Interrupt {
 public:
  // While it lives, an interrupt calls `cancel` once, on the interrupting thread; at once when
  // there was one before. `cancel` must not touch the Interrupt. At most one at a time.
  class Scope {
   public:
    Scope(Interrupt& interrupt, std::function<void()> cancel);
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Interrupt& interrupt_;
  };

  // Ends waits and cancels the call in progress. Repeating it is harmless.
  void Request();
  bool requested() const;
  // Returns after `duration`, or at once when interrupted.
  void Wait(absl::Duration duration);

 private:
  mutable Mutex mutex_;
  CondVar changed_;
  bool requested_ ABSL_GUARDED_BY(mutex_) = false;
  std::function<void()> cancel_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace finetuned::cli
