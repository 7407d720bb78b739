#include "cli/stream_retry.h"

#include <algorithm>

#include "base/status.h"
#include "cli/client.h"
#include "cli/errors.h"

namespace finetuned::cli {
namespace {

constexpr absl::Duration kFirstRetry = absl::Milliseconds(250);
constexpr absl::Duration kMaxRetry = absl::Seconds(10);

// Whether asking again may go better. `connected`: the stream had worked, so a full table of
// streams may still hold the one that was lost.
bool IsResumable(const absl::Status& status, bool connected) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kCancelled:
    case absl::StatusCode::kAborted:
    case absl::StatusCode::kInternal:
    case absl::StatusCode::kUnknown:
    case absl::StatusCode::kDeadlineExceeded: return true;
    case absl::StatusCode::kResourceExhausted: return connected;
    default: return false;
  }
}

}  // namespace

StreamRetry::StreamRetry(Io& io, absl::Duration limit)
    : io_(io), end_(io.clock.SinceBoot() + limit), backoff_({kFirstRetry, kMaxRetry}) {}

absl::Duration StreamRetry::left() const { return end_ - io_.clock.SinceBoot(); }

bool StreamRetry::NoteMessage() {
  const bool was_lost = lost_;
  lost_ = false;
  connected_ = true;
  tries_ = 1;
  outage_start_.reset();
  backoff_.Reset();
  return was_lost;
}

absl::Status StreamRetry::Wait(const absl::Status& status, const std::function<void()>& on_lost) {
  if (io_.interrupt.requested()) return InterruptedError();
  // The stream's own limit is in whole milliseconds and so may be over a little before ours.
  if (left() <= absl::Milliseconds(2)) {
    return absl::DeadlineExceededError("the time limit is over");
  }
  if (!IsResumable(status, connected_)) return status;
  if (!connected_) {
    if (tries_++ >= Client::kMaxTries) {
      return status.ok() ? absl::UnavailableError("the stream ends too early") : status;
    }
  } else if (!lost_) {
    lost_ = true;
    outage_start_ = io_.clock.SinceBoot();
    on_lost();
  } else if (outage_start_.has_value() && io_.clock.SinceBoot() - *outage_start_ >= kOutageLimit) {
    return status.ok() ? absl::UnavailableError("the stream keeps ending") : status;
  }
  io_.pause(std::min(std::max(backoff_.Next(), RetryDelay(status)), left()));
  return io_.interrupt.requested() ? InterruptedError() : absl::OkStatus();
}

}  // namespace finetuned::cli
