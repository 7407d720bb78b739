#include "worker/lease_term.h"

#include <cstdlib>

#include "base/file.h"
#include "base/logging.h"
#include "worker/attempt_rules.h"
#include "worker/process_engine.h"

namespace finetuned {

LeaseTerm::LeaseTerm(const Clock& clock, std::string file) : clock_(clock), file_(std::move(file)) {
  const absl::StatusOr<std::string> text = ReadFile(file_, 128);
  if (!text.ok()) return;
  // Times since another boot say nothing, and none of its trainers is alive.
  if (text->find(BootId()) == std::string::npos) return;
  const absl::Duration end = absl::Milliseconds(strtoll(text->c_str(), nullptr, 10));
  MutexLock lock(mutex_);
  // Only the end is known; that it was reached from here with no time left says the same.
  answered_ = end;
  from_file_ = true;
}

void LeaseTerm::Answered(absl::Duration sent, absl::Duration self_stop) {
  MutexLock lock(mutex_);
  // The newest answer counts, also where it gives a shorter time than the one before.
  if (!from_file_ && sent <= answered_) return;
  from_file_ = false;
  answered_ = sent;
  self_stop_ = self_stop;
  const int64_t end_ms = absl::ToInt64Milliseconds(sent + self_stop);
  const absl::Status status =
      WriteFileAtomically(file_, std::to_string(end_ms) + " " + BootId() + "\n");
  if (!status.ok()) {
    Log(LogLevel::kError, "cannot tell the trainers' shims how long they may run",
        {{"error", status}});
  }
}

bool LeaseTerm::Held() const {
  MutexLock lock(mutex_);
  return answered_ + self_stop_ > absl::ZeroDuration() &&
         !MustSelfStop(clock_.SinceBoot(), answered_, self_stop_);
}

bool LeaseTerm::Over() const {
  MutexLock lock(mutex_);
  return answered_ + self_stop_ > absl::ZeroDuration() &&
         MustSelfStop(clock_.SinceBoot(), answered_, self_stop_);
}

}  // namespace finetuned
