#pragma once

#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <vector>

#include "base/mutex.h"
#include "daemon/event_frame.h"
#include "daemon/executor.h"
#include "daemon/run_hub.h"
#include "db/feed.h"

namespace finetuned {

// The newest events of all runs, read once for all who follow several runs, and serialised once.
// While nobody does, nothing is read. What is older is read from the log by whoever wants it. Safe
// for concurrent use.
class FeedTail {
 public:
  static constexpr size_t kKeptEvents = 8192;
  static constexpr size_t kKeptBytes = 8 << 20;
  // Of one statement.
  static constexpr int kReadEvents = 1000;

  // What stands behind a place and fits.
  struct Piece {
    std::vector<EventFrame> frames;
    // Everything up to here is in the frames or does not fit.
    FeedPlace end;
    bool more = false;
  };

  // All must outlive this.
  FeedTail(RunHub* hub, Executor* executor, Feed* feed)
      : hub_(*hub), executor_(*executor), feed_(*feed) {}

  // Calls back when there is something new, on a thread that is not to be held up. After Unfollow
  // returns the callback may still be running once.
  int64_t Follow(std::function<void()> callback);
  void Unfollow(int64_t follower);

  // At most kMaxEventsPerMessage events; nothing where the tail does not go back so far.
  std::optional<Piece> After(const FeedPlace& place, const FeedFilter& filter) const;

 private:
  struct Item {
    // Without what the frame has.
    FeedEntry entry;
    EventFrame frame;
  };

  void Look();
  // It begins with what comes next: those who follow read the log up to there.
  absl::StatusOr<FeedPage> Begin();
  void Read();

  RunHub& hub_;
  Executor& executor_;
  Feed& feed_;

  mutable Mutex mutex_;
  int64_t next_ ABSL_GUARDED_BY(mutex_) = 1;
  int64_t subscription_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<int64_t, std::function<void()>> followers_ ABSL_GUARDED_BY(mutex_);
  bool reading_ ABSL_GUARDED_BY(mutex_) = false;
  bool look_again_ ABSL_GUARDED_BY(mutex_) = false;
  // Everything from here to end_ is in items_; nothing before the first look.
  std::optional<FeedPlace> begin_ ABSL_GUARDED_BY(mutex_);
  FeedPlace end_ ABSL_GUARDED_BY(mutex_);
  // Up to where events may have been dropped, at the last look.
  int64_t dropped_ ABSL_GUARDED_BY(mutex_) = 0;
  std::deque<Item> items_ ABSL_GUARDED_BY(mutex_);
  size_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace finetuned
