#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <utility>

#include <grpcpp/support/slice.h>

#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "daemon/event_frame.h"
#include "db/reads.h"

namespace finetuned {

// The past of runs, in whole pages that never change: events 1 to kMaxEventsPerMessage of a run,
// the next as many, and so on. When everybody comes back at once, each page is read and serialised
// once for all. Safe for concurrent use.
class EventPages {
 public:
  // Of all pages that are kept; the oldest go first.
  static constexpr size_t kKeptBytes = 32 << 20;

  // The reader must outlive this.
  explicit EventPages(Reader* reader) : reader_(*reader) {}

  // The page that comes after this event, as pieces of a WatchEventsResponse in one; `newest` is
  // the number of an event that the run has. Nothing where no page begins there, where the run has
  // not filled it yet, where it is too large for a message, or where its events are gone.
  absl::StatusOr<std::optional<EventFrame>> After(int64_t run_id, int64_t seq, int64_t newest);

 private:
  using Key = std::pair<int64_t, int64_t>;

  Reader& reader_;

  Mutex mutex_;
  std::map<Key, EventFrame> pages_ ABSL_GUARDED_BY(mutex_);
  // In the order they came.
  std::deque<Key> keys_ ABSL_GUARDED_BY(mutex_);
  size_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace finetuned
