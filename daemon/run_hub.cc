#include "daemon/run_hub.h"

namespace finetuned {

int64_t RunHub::Subscribe(const std::vector<int64_t>& run_ids, Change change, Callback callback) {
  // Each once: a worker may still hold two attempts of one run.
  const std::set<int64_t> distinct(run_ids.begin(), run_ids.end());
  MutexLock lock(mutex_);
  const int64_t id = next_++;
  for (const int64_t run_id : distinct) by_run_[run_id].insert(id);
  subscriptions_[id] = {distinct, change, std::move(callback)};
  return id;
}

int64_t RunHub::SubscribeToAll(Callback callback) {
  MutexLock lock(mutex_);
  const int64_t id = next_++;
  all_[id] = std::move(callback);
  return id;
}

void RunHub::Unsubscribe(int64_t subscription) {
  MutexLock lock(mutex_);
  if (all_.erase(subscription) != 0) return;
  const auto found = subscriptions_.find(subscription);
  if (found == subscriptions_.end()) return;
  for (const int64_t run_id : found->second.run_ids) {
    const auto followers = by_run_.find(run_id);
    followers->second.erase(subscription);
    if (followers->second.empty()) {
      by_run_.erase(followers);
      marks_.erase(run_id);
    }
  }
  subscriptions_.erase(found);
}

void RunHub::Wake(int64_t run_id, Change change) {
  std::vector<Callback> callbacks;
  {
    MutexLock lock(mutex_);
    if (change == Change::kEvents) {
      for (const auto& entry : all_) callbacks.push_back(entry.second);
    }
    const auto followers = by_run_.find(run_id);
    if (followers != by_run_.end()) {
      for (const int64_t id : followers->second) {
        const Subscription& subscription = subscriptions_[id];
        if (subscription.change == change) callbacks.push_back(subscription.callback);
      }
    }
  }
  for (const Callback& callback : callbacks) callback();
}

void RunHub::Close() {
  std::vector<Callback> callbacks;
  {
    MutexLock lock(mutex_);
    closed_ = true;
    for (const auto& entry : subscriptions_) callbacks.push_back(entry.second.callback);
  }
  for (const Callback& callback : callbacks) callback();
}

bool RunHub::closed() const {
  MutexLock lock(mutex_);
  return closed_;
}

void RunHub::Poll(Reader* reader) {
  std::vector<int64_t> run_ids;
  std::vector<Callback> callbacks;
  {
    MutexLock lock(mutex_);
    for (const auto& entry : by_run_) run_ids.push_back(entry.first);
    for (const auto& entry : all_) callbacks.push_back(entry.second);
  }
  for (const Callback& callback : callbacks) callback();
  if (run_ids.empty()) return;
  const auto marks = reader->Watch(run_ids);
  if (!marks.ok()) return;  // The next look comes soon.
  std::vector<std::pair<int64_t, Change>> changed;
  {
    MutexLock lock(mutex_);
    for (const auto& [run_id, mark] : *marks) {
      const auto before = marks_.find(run_id);
      const bool known = before != marks_.end();
      // What was never looked at may have changed between its follower's reading and this look.
      if (!known || mark.last_seq != before->second.last_seq ||
          mark.state != before->second.state) {
        changed.emplace_back(run_id, Change::kEvents);
      }
      if (!known || mark.stop_requested != before->second.stop_requested ||
          mark.epoch != before->second.epoch || IsTerminal(mark.state)) {
        changed.emplace_back(run_id, Change::kDesired);
      }
      if (by_run_.count(run_id) != 0) marks_[run_id] = mark;
    }
  }
  for (const auto& [run_id, change] : changed) Wake(run_id, change);
}

}  // namespace finetuned
