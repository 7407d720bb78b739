#include "daemon/feed_tail.h"

#include <algorithm>
#include <utility>

#include "base/status.h"
#include "daemon/run_view.h"
#include "daemon/watch_events.h"

namespace finetuned {

int64_t FeedTail::Follow(std::function<void()> callback) {
  MutexLock lock(mutex_);
  if (followers_.empty()) subscription_ = hub_.SubscribeToAll([this] { Look(); });
  const int64_t follower = next_++;
  followers_[follower] = std::move(callback);
  return follower;
}

void FeedTail::Unfollow(int64_t follower) {
  MutexLock lock(mutex_);
  if (followers_.erase(follower) == 0 || !followers_.empty()) return;
  hub_.Unsubscribe(subscription_);
  begin_.reset();
  items_.clear();
  bytes_ = 0;
}

std::optional<FeedTail::Piece> FeedTail::After(const FeedPlace& place,
                                               const FeedFilter& filter) const {
  MutexLock lock(mutex_);
  if (!begin_ || place < *begin_) return std::nullopt;
  Piece piece;
  piece.end = std::max(place, end_);
  size_t bytes = 0;
  auto item = std::upper_bound(
      items_.begin(), items_.end(), place,
      [](const FeedPlace& at, const Item& other) { return at < other.entry.place; });
  for (; item != items_.end(); ++item) {
    if (!Fits(filter, item->entry)) continue;
    bytes += item->frame.bytes.size();
    if (!piece.frames.empty() &&
        (piece.frames.size() == size_t{kMaxEventsPerMessage} || bytes > kMaxResponseBytes)) {
      piece.more = true;
      break;
    }
    piece.frames.push_back(item->frame);
    piece.end = item->entry.place;
  }
  if (!piece.more) piece.end = std::max(place, end_);
  return piece;
}

void FeedTail::Look() {
  {
    MutexLock lock(mutex_);
    if (followers_.empty()) return;
    look_again_ = true;
    if (reading_) return;
    reading_ = true;
  }
  if (!executor_.Submit([this] { Read(); })) {
    MutexLock lock(mutex_);
    reading_ = false;  // Stopping, or overloaded: the next look of the hub comes soon.
  }
}

absl::StatusOr<FeedPage> FeedTail::Begin() {
  FT_ASSIGN_OR_RETURN(const FeedEnd end, feed_.End());
  FeedPage page;
  page.end = end.place;
  page.dropped = end.dropped;
  return page;
}

void FeedTail::Read() {
  for (;;) {
    std::optional<FeedPlace> after;
    {
      MutexLock lock(mutex_);
      if (!look_again_ || followers_.empty()) {
        reading_ = false;
        return;
      }
      look_again_ = false;
      if (begin_) after = end_;
    }
    auto page = after ? feed_.Read(*after, nullptr, kReadEvents) : Begin();
    // What could not be read now is looked at again at the hub's next look.
    if (!page.ok()) continue;
    std::vector<Item> items;
    for (FeedEntry& entry : page->entries) {
      EventFrame frame = MakeFrame(entry.event, RunName(entry.workspace, entry.run_name));
      entry.event.message.clear();
      entry.event.detail.clear();
      items.push_back({std::move(entry), std::move(frame)});
    }
    std::vector<std::function<void()>> callbacks;
    {
      MutexLock lock(mutex_);
      // Everybody has left, and perhaps somebody has come again since.
      const bool as_before = after ? begin_ && end_ == *after : !begin_;
      if (followers_.empty() || !as_before) continue;
      const bool has_dropped = page->dropped != std::exchange(dropped_, page->dropped);
      if (after && has_dropped && page->dropped >= after->position) {
        // It has not looked for so long that what comes next may have been dropped: it begins anew,
        // and those who follow it read the log and are told.
        begin_.reset();
        items_.clear();
        bytes_ = 0;
        look_again_ = true;
        continue;
      }
      if (!after) begin_ = page->end;
      end_ = page->end;
      look_again_ = look_again_ || page->more;
      for (Item& item : items) {
        bytes_ += item.frame.bytes.size();
        items_.push_back(std::move(item));
      }
      while (items_.size() > kKeptEvents || (bytes_ > kKeptBytes && items_.size() > 1)) {
        begin_ = items_.front().entry.place;
        bytes_ -= items_.front().frame.bytes.size();
        items_.pop_front();
      }
      if (!after || !items.empty()) {
        for (const auto& follower : followers_) callbacks.push_back(follower.second);
      }
    }
    for (const auto& callback : callbacks) callback();
  }
}

}  // namespace finetuned
