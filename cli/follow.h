#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "cli/client.h"
#include "cli/stream_retry.h"
#include "finetuned/v1/event.pb.h"
#include "finetuned/v1/run.pb.h"

// Following one run to its end over a stream that may break.

namespace finetuned::cli {

// Called on the thread that follows.
class FollowObserver {
 public:
  virtual ~FollowObserver() = default;
  // Each event after the starting point exactly once, in order.
  virtual void OnEvent(const v1::RunEvent& event) = 0;
  // The run as it was at that moment.
  virtual void OnRun(const v1::Run& run) = 0;
  // The stream broke after it had worked; once per break, before the first try to reach the server
  // again.
  virtual void OnLost(const absl::Status& status) = 0;
  // The stream works again.
  virtual void OnRecovered() = 0;
  // The events up to this number are past their retention; what comes next is shown.
  virtual void OnDropped(int64_t up_to) = 0;
};

struct FollowOptions {
  // As in GetRun.
  std::string name;
  // The last number seen.
  int64_t after_seq = 0;
  // Time limit of it all; none by default.
  absl::Duration limit = absl::InfiniteDuration();
};

// How often the same gap in the numbers may come again before the log is taken as damaged.
inline constexpr int kMaxGaps = 3;

// Returns the run in its terminal state. Resumes from the last event after anything but an answer
// that would be the same again; the first connection is tried Client::kMaxTries times. Errors:
// those of WatchEvents; DEADLINE_EXCEEDED after `limit`; UNAVAILABLE after kOutageLimit; DATA_LOSS
// when events are missing; InterruptedError().
absl::StatusOr<v1::Run> FollowRun(Client& client, Io& io, const FollowOptions& options,
                                  FollowObserver& observer);

}  // namespace finetuned::cli
