#pragma once

#include <functional>
#include <optional>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/backoff.h"
#include "cli/io.h"

namespace finetuned::cli {

// How long the server may be away, once it was there: longer than a restart of the daemon or its
// host.
inline constexpr absl::Duration kOutageLimit = absl::Minutes(30);

// When a stream that broke is opened again: after anything but an answer that would be the same
// again. The first connection is tried Client::kMaxTries times. Not safe for concurrent use.
class StreamRetry {
 public:
  // `limit` is of it all, from now on.
  StreamRetry(Io& io, absl::Duration limit);

  // What is left of the time limit.
  absl::Duration left() const;
  // A message has come. Whether the stream had been lost before.
  bool NoteMessage();
  // After the end of a stream: waits before the next try, or returns the error with which it is
  // over, DEADLINE_EXCEEDED after the limit and InterruptedError() among them. `on_lost` is called
  // once per break of a stream that had worked. An OK status is one that came too early.
  absl::Status Wait(const absl::Status& status, const std::function<void()>& on_lost);

 private:
  Io& io_;
  const absl::Duration end_;
  Backoff backoff_;
  // A message has come on some stream.
  bool connected_ = false;
  // A break has been told.
  bool lost_ = false;
  std::optional<absl::Duration> outage_start_;
  int tries_ = 1;
};

}  // namespace finetuned::cli
