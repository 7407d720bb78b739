#include "daemon/run_tails.h"

#include <algorithm>

#include "daemon/watch_events.h"

namespace finetuned {

int64_t RunTails::Follow(int64_t run_id, std::function<void()> callback) {
  MutexLock lock(mutex_);
  const int64_t follower = next_++;
  runs_[follower] = run_id;
  Tail& tail = tails_[run_id];
  const bool first = tail.followers.empty();
  tail.followers[follower] = std::move(callback);
  if (first) {
    // The hub wakes without a lock of its own held, and so may be called with ours.
    tail.subscription =
        hub_.Subscribe({run_id}, RunHub::Change::kEvents, [this, run_id] { Look(run_id); });
  }
  return follower;
}

void RunTails::Unfollow(int64_t follower) {
  MutexLock lock(mutex_);
  const auto found = runs_.find(follower);
  if (found == runs_.end()) return;
  const auto tail = tails_.find(found->second);
  tail->second.followers.erase(follower);
  if (tail->second.followers.empty()) {
    hub_.Unsubscribe(tail->second.subscription);
    to_read_.erase(found->second);
    tails_.erase(tail);
  }
  runs_.erase(found);
}

std::optional<std::vector<EventFrame>> RunTails::After(int64_t run_id, int64_t seq) const {
  MutexLock lock(mutex_);
  const auto found = tails_.find(run_id);
  if (found == tails_.end()) return std::nullopt;
  const Tail& tail = found->second;
  if (!tail.begin || seq < *tail.begin) return std::nullopt;
  // Numbers have no gaps.
  const auto skipped = static_cast<size_t>(seq - *tail.begin);
  if (skipped >= tail.frames.size()) return std::vector<EventFrame>();
  return std::vector<EventFrame>(tail.frames.begin() + static_cast<ptrdiff_t>(skipped),
                                 tail.frames.end());
}

void RunTails::Look(int64_t run_id) {
  {
    MutexLock lock(mutex_);
    if (tails_.count(run_id) == 0) return;
    to_read_.insert(run_id);
    if (reading_) return;
    reading_ = true;
  }
  if (!executor_.Submit([this] { Read(); })) {
    MutexLock lock(mutex_);
    reading_ = false;  // Stopping, or overloaded: the next look of the hub comes soon.
  }
}

void RunTails::Read() {
  for (;;) {
    std::map<int64_t, int64_t> places;
    std::vector<int64_t> unread;
    {
      MutexLock lock(mutex_);
      for (const int64_t run_id : to_read_) {
        const auto tail = tails_.find(run_id);
        if (tail == tails_.end()) continue;
        if (tail->second.begin) {
          places[run_id] = tail->second.end();
        } else {
          unread.push_back(run_id);
        }
      }
      to_read_.clear();
      if (places.empty() && unread.empty()) {
        reading_ = false;
        return;
      }
    }
    std::vector<std::function<void()>> callbacks;
    if (!unread.empty()) {
      // A tail begins with what comes next: its first follower reads the log up to there.
      const auto marks = reader_.Watch(unread);
      MutexLock lock(mutex_);
      for (const int64_t run_id : unread) {
        const auto tail = tails_.find(run_id);
        if (tail == tails_.end() || !marks.ok() || marks->count(run_id) == 0) continue;
        if (!tail->second.begin) tail->second.begin = marks->at(run_id).last_seq;
        for (const auto& follower : tail->second.followers) callbacks.push_back(follower.second);
      }
    }
    const auto events = places.empty() ? absl::StatusOr<std::map<int64_t, std::vector<Event>>>(
                                             std::map<int64_t, std::vector<Event>>())
                                       : reader_.ListEventsOf(places, kMaxEventsPerMessage);
    // What could not be read now is looked at again by the hub's next look at Postgres.
    if (events.ok()) {
      for (const auto& [run_id, list] : *events) {
        const auto told = Append(run_id, places[run_id], list);
        callbacks.insert(callbacks.end(), told.begin(), told.end());
      }
    }
    for (const auto& callback : callbacks) callback();
  }
}

std::vector<std::function<void()>> RunTails::Append(int64_t run_id, int64_t after,
                                                    const std::vector<Event>& events) {
  std::vector<std::function<void()>> callbacks;
  std::vector<EventFrame> frames = MakeFrames(events);
  MutexLock lock(mutex_);
  const auto found = tails_.find(run_id);
  // Everybody has left, and perhaps somebody has come again since.
  if (found == tails_.end() || !found->second.begin || found->second.end() != after) return {};
  Tail& tail = found->second;
  for (EventFrame& frame : frames) {
    tail.bytes += frame.bytes.size();
    tail.frames.push_back(std::move(frame));
  }
  while (tail.frames.size() > kKeptEvents || tail.bytes > kKeptBytes) {
    if (tail.frames.size() == 1) break;
    tail.bytes -= tail.frames.front().bytes.size();
    tail.begin = tail.frames.front().seq;
    tail.frames.pop_front();
  }
  if (events.size() == size_t{kMaxEventsPerMessage}) to_read_.insert(run_id);
  for (const auto& follower : tail.followers) callbacks.push_back(follower.second);
  return callbacks;
}

absl::Status RunTails::CheckAccess(int64_t run_id, const Viewer& viewer, absl::Duration now,
                                   absl::Duration age, const std::function<absl::Status()>& check) {
  const std::tuple key(viewer.workspace_id, viewer.owner_id, viewer.sees_workspace);
  {
    MutexLock lock(mutex_);
    const auto tail = tails_.find(run_id);
    if (tail != tails_.end()) {
      const auto allowed = tail->second.allowed.find(key);
      if (allowed != tail->second.allowed.end() && now - allowed->second < age) {
        return absl::OkStatus();
      }
    }
  }
  FT_RETURN_IF_ERROR(check());
  MutexLock lock(mutex_);
  const auto tail = tails_.find(run_id);
  if (tail == tails_.end()) return absl::OkStatus();
  // Those who have left need not be remembered.
  if (tail->second.allowed.size() > tail->second.followers.size()) tail->second.allowed.clear();
  tail->second.allowed[key] = now;
  return absl::OkStatus();
}

absl::StatusOr<std::string> RunTails::View(
    int64_t run_id, int64_t seq, absl::Duration now, absl::Duration age,
    const std::function<absl::StatusOr<std::string>()>& read) {
  {
    MutexLock lock(mutex_);
    const auto found = tails_.find(run_id);
    if (found != tails_.end()) {
      const Tail& tail = found->second;
      seq = std::max(seq, tail.end());
      if (tail.view_seq >= seq && now - tail.view_time < age) return tail.view;
    }
  }
  absl::StatusOr<std::string> view = read();
  if (!view.ok()) return view;
  MutexLock lock(mutex_);
  const auto found = tails_.find(run_id);
  if (found != tails_.end() && found->second.view_seq <= seq) {
    found->second.view = *view;
    found->second.view_seq = seq;
    found->second.view_time = now;
  }
  return view;
}

}  // namespace finetuned
