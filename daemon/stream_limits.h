#pragma once

#include <functional>
#include <map>

#include "absl/status/status.h"
#include "base/mutex.h"
#include "base/status.h"

namespace finetuned {

// Counts the open streams of each principal and can end them all. Safe for concurrent use.
class StreamLimits {
 public:
  static constexpr int kMaxPerOwner = 64;

  // RESOURCE_EXHAUSTED `TOO_MANY_STREAMS`, or UNAVAILABLE when the daemon stops. `end` is kept
  // until Remove.
  absl::Status Add(int64_t owner_id, const void* stream, std::function<void()> end) {
    MutexLock lock(mutex_);
    if (closed_) {
      return UnavailableError("SHUTTING_DOWN", "the daemon is stopping: resume from the last seq",
                              absl::Seconds(1));
    }
    int& count = counts_[owner_id];
    if (count >= kMaxPerOwner) {
      return MakeError(absl::StatusCode::kResourceExhausted, "TOO_MANY_STREAMS",
                       "you have 64 streams open: end one first", {{"limit", "64"}});
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
  Mutex mutex_;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  std::map<int64_t, int> counts_ ABSL_GUARDED_BY(mutex_);
  std::map<const void*, std::pair<int64_t, std::function<void()>>> streams_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace finetuned
