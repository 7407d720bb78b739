#pragma once

#include <functional>
#include <map>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "base/mutex.h"
#include "base/status.h"

namespace finetuned {

// Counts the open streams of each principal and can end them all. Safe for concurrent use.
class StreamLimits {
 public:
  // `reason` is that of the refusal, and `resume` says how to go on with another daemon.
  StreamLimits(int max_per_owner, std::string reason, std::string resume)
      : max_per_owner_(max_per_owner), reason_(std::move(reason)), resume_(std::move(resume)) {}

  // What a stream ends with when the daemon stops.
  absl::Status Stopping() const {
    return UnavailableError("SHUTTING_DOWN", "the daemon is stopping: " + resume_,
                            absl::Seconds(1));
  }

  // RESOURCE_EXHAUSTED with the reason, or UNAVAILABLE when the daemon stops. `end` is kept until
  // Remove.
  absl::Status Add(int64_t owner_id, const void* stream, std::function<void()> end) {
    MutexLock lock(mutex_);
    if (closed_) return Stopping();
    int& count = counts_[owner_id];
    if (count >= max_per_owner_) {
      const std::string limit = std::to_string(max_per_owner_);
      return MakeError(absl::StatusCode::kResourceExhausted, reason_,
                       "you have " + limit + " streams open: end one first", {{"limit", limit}});
    }
    ++count;
    streams_[stream] = {owner_id, std::move(end)};
    return absl::OkStatus();
  }

  void Remove(const void* stream) {
    MutexLock lock(mutex_);
    const auto found = streams_.find(stream);
    if (found == streams_.end()) return;
    if (--counts_[found->second.first] == 0) counts_.erase(found->second.first);
    streams_.erase(found);
  }

  void Close() {
    std::map<const void*, std::pair<int64_t, std::function<void()>>> streams;
    {
      MutexLock lock(mutex_);
      closed_ = true;
      streams = streams_;
    }
    for (const auto& entry : streams) entry.second.second();
  }

 private:
  const int max_per_owner_;
  const std::string reason_;
  const std::string resume_;

  Mutex mutex_;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  std::map<int64_t, int> counts_ ABSL_GUARDED_BY(mutex_);
  std::map<const void*, std::pair<int64_t, std::function<void()>>> streams_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace finetuned
