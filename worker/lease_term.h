#pragma once

#include <string>

#include "absl/time/time.h"
#include "base/clock.h"
#include "base/mutex.h"

namespace finetuned {

// How long this worker may run its trainers. The right reaches from the moment a renewal was *sent*
// that was answered, for the self-stop time; an answer that does not come does not prolong it.
// Times are since boot, so that a clock that is set, or a host that sleeps, cannot stretch it.
//
// The end is also in a file that every shim reads, so that trainers stop in time when there is no
// agent at all, and from which the next agent learns how long its predecessor's right reaches. Safe
// for concurrent use.
class LeaseTerm {
 public:
  // Reads the end that an agent before has left, if it did.
  LeaseTerm(const Clock& clock, std::string file);

  // A call sent at `sent` was answered, and gives the right for `self_stop`.
  void Answered(absl::Duration sent, absl::Duration self_stop) ABSL_LOCKS_EXCLUDED(mutex_);
  // Whether the right is certain now.
  bool Held() const ABSL_LOCKS_EXCLUDED(mutex_);
  // Whether it has been given and is over: the trainers must be stopped.
  bool Over() const ABSL_LOCKS_EXCLUDED(mutex_);
  const std::string& file() const { return file_; }

 private:
  const Clock& clock_;
  const std::string file_;
  mutable Mutex mutex_;
  // Zero: never given.
  absl::Duration answered_ ABSL_GUARDED_BY(mutex_) = absl::ZeroDuration();
  absl::Duration self_stop_ ABSL_GUARDED_BY(mutex_) = absl::ZeroDuration();
  // `answered_` is the end that an agent before has left, and no time of an answer.
  bool from_file_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace finetuned
