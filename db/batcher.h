#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <functional>
#include <iterator>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "base/status.h"

namespace finetuned {

// Natural batching: while one batch of a kind is on its way to Postgres, the next items of that
// kind gather and go together. An idle system adds no delay, a busy one commits hundreds of items
// at once. Each item is answered after its commit and has its own result; a batch that a single
// item spoils is run again one item at a time.
//
// Submit may be called from any thread and never blocks. Callbacks run on the batcher's thread:
// they hand over and return. One thread and, through the run function, one connection per batcher.
template <typename Item, typename Result>
class Batcher {
 public:
  using Callback = std::function<void(absl::StatusOr<Result>)>;
  // One result per item, or one error for all.
  using RunFunction =
      std::function<absl::StatusOr<std::vector<absl::StatusOr<Result>>>(const std::vector<Item>&)>;
  using SizeObserver = std::function<void(size_t)>;

  struct Options {
    std::string name;
    // Items in one statement.
    size_t max_batch = 256;
    // Items that wait; more are refused with UNAVAILABLE `OVERLOADED`.
    size_t max_waiting = 10000;
    SizeObserver observe_size;
    // Items of one key never go together: the later ones come with the next batch. None: all may.
    std::function<int64_t(const Item&)> key;
    // Batches begin at least so far apart: what comes all the time gathers, and what comes after a
    // pause does not wait.
    absl::Duration interval = absl::ZeroDuration();
  };

  Batcher(Options options, RunFunction run) : options_(std::move(options)), run_(std::move(run)) {}
  ~Batcher() { Stop(); }
  Batcher(const Batcher&) = delete;
  Batcher& operator=(const Batcher&) = delete;

  void Start() {
    thread_ = std::thread([this] { Loop(); });
  }

  // Finishes what was submitted and returns; later items get UNAVAILABLE. May be called twice.
  void Stop() {
    {
      MutexLock lock(mutex_);
      stopping_ = true;
      changed_.NotifyAll();
      stopped_.NotifyAll();
    }
    if (thread_.joinable()) thread_.join();
  }

  void Submit(Item item, Callback callback) {
    {
      MutexLock lock(mutex_);
      if (!stopping_ && waiting_.size() < options_.max_waiting) {
        waiting_.emplace_back(std::move(item), std::move(callback));
        changed_.NotifyOne();
        return;
      }
    }
    callback(UnavailableError("OVERLOADED", "too many calls are waiting for " + options_.name,
                              absl::Seconds(1)));
  }

 private:
  using Entry = std::pair<Item, Callback>;

  void Loop() {
    for (;;) {
      std::vector<Item> items;
      std::vector<Callback> callbacks;
      {
        MutexLock lock(mutex_);
        while (waiting_.empty() && !stopping_) changed_.Wait(mutex_);
        if (waiting_.empty()) return;
        Rest();
        Gather(&items, &callbacks);
      }
      if (options_.observe_size) options_.observe_size(items.size());
      RunBatch(items, callbacks);
    }
  }

  // Waits until the next batch may begin. What the one before has left has waited already.
  void Rest() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (options_.interval <= absl::ZeroDuration()) return;
    while (!stopping_ && !has_left_) {
      const absl::Duration left = begun_ + options_.interval - RealClock::Get().SinceBoot();
      if (left <= absl::ZeroDuration()) break;
      stopped_.WaitFor(mutex_, left);
    }
    begun_ = RealClock::Get().SinceBoot();
  }

  // Takes what goes together, in the order of arrival.
  void Gather(std::vector<Item>* items, std::vector<Callback>* callbacks)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    std::set<int64_t> keys;
    std::vector<Entry> later;
    while (!waiting_.empty() && items->size() < options_.max_batch) {
      Entry entry = std::move(waiting_.front());
      waiting_.pop_front();
      if (options_.key && !keys.insert(options_.key(entry.first)).second) {
        later.push_back(std::move(entry));
        continue;
      }
      items->push_back(std::move(entry.first));
      callbacks->push_back(std::move(entry.second));
    }
    std::move(later.rbegin(), later.rend(), std::front_inserter(waiting_));
    has_left_ = !waiting_.empty();
  }

  void RunBatch(const std::vector<Item>& items, std::vector<Callback>& callbacks) {
    auto results = run_(items);
    if (results.ok()) {
      for (size_t i = 0; i < items.size(); ++i) callbacks[i](std::move((*results)[i]));
      return;
    }
    // When the database is away, trying each alone would only make it worse.
    if (items.size() == 1 || results.status().code() == absl::StatusCode::kUnavailable) {
      for (Callback& callback : callbacks) callback(results.status());
      return;
    }
    for (size_t i = 0; i < items.size(); ++i) {
      auto result = run_({items[i]});
      if (result.ok()) {
        callbacks[i](std::move((*result)[0]));
      } else {
        callbacks[i](result.status());
      }
    }
  }

  // Constant after construction.
  const Options options_;
  const RunFunction run_;
  std::thread thread_;

  Mutex mutex_;
  CondVar changed_;
  // Apart from the other, which every item notifies.
  CondVar stopped_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::deque<Entry> waiting_ ABSL_GUARDED_BY(mutex_);
  // Whether something was waiting when the newest batch began, and when that was.
  bool has_left_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Duration begun_ ABSL_GUARDED_BY(mutex_) = -absl::InfiniteDuration();
};

}  // namespace finetuned
