#include "daemon/event_pages.h"

#include <string>
#include <vector>

#include "base/status.h"
#include "daemon/watch_events.h"

namespace finetuned {

absl::StatusOr<std::optional<EventFrame>> EventPages::After(int64_t run_id, int64_t seq,
                                                            int64_t newest) {
  if (seq % kMaxEventsPerMessage != 0 || newest - seq < kMaxEventsPerMessage) return std::nullopt;
  const Key key(run_id, seq);
  {
    MutexLock lock(mutex_);
    const auto found = pages_.find(key);
    if (found != pages_.end()) return found->second;
  }
  FT_ASSIGN_OR_RETURN(const std::vector<Event> events,
                      reader_.ListEvents(run_id, seq, kMaxEventsPerMessage));
  const std::vector<EventFrame> frames = MakeFrames(events);
  if (CountForMessage(frames) < size_t{kMaxEventsPerMessage}) return std::nullopt;
  std::string bytes;
  for (const EventFrame& frame : frames) {
    bytes.append(reinterpret_cast<const char*>(frame.bytes.begin()), frame.bytes.size());
  }
  const EventFrame page{frames.back().seq, frames.back().type, grpc::Slice(bytes)};
  MutexLock lock(mutex_);
  // Another may have been as quick.
  if (!pages_.emplace(key, page).second) return page;
  keys_.push_back(key);
  bytes_ += page.bytes.size();
  while (bytes_ > kKeptBytes && keys_.size() > 1) {
    const auto oldest = pages_.find(keys_.front());
    bytes_ -= oldest->second.bytes.size();
    pages_.erase(oldest);
    keys_.pop_front();
  }
  return page;
}

}  // namespace finetuned
