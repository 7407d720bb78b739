#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <vector>

#include "base/mutex.h"
#include "db/reads.h"

namespace finetuned {

// Wakes those who follow runs. A wake says only "look": what is true is read from Postgres, so a
// wake that is lost or comes twice costs time and nothing else. This daemon's own commits wake at
// once; those of other daemons are found by Poll. Safe for concurrent use. Callbacks run on the
// waking thread, without locks held: they hand over and return.
class RunHub {
 public:
  enum class Change {
    // There are new events.
    kEvents = 1,
    // What is wanted of the attempt has changed, or it is not the current one any more.
    kDesired = 2,
  };

  using Callback = std::function<void()>;

  // Follows runs, which may be given twice, for one kind of change. After Unsubscribe returns the
  // callback may still be running once.
  int64_t Subscribe(const std::vector<int64_t>& run_ids, Change change, Callback callback);
  // Follows all runs for new events, and is woken by each Poll, too.
  int64_t SubscribeToAll(Callback callback);
  void Unsubscribe(int64_t subscription);

  void Wake(int64_t run_id, Change change);

  // Looks at every followed run and wakes for what has changed since the last look.
  void Poll(Reader* reader);

  // Wakes everybody once more: whoever waits and finds the hub closed stops waiting.
  void Close();
  bool closed() const;

 private:
  struct Subscription {
    std::set<int64_t> run_ids;
    Change change;
    Callback callback;
  };

  mutable Mutex mutex_;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  int64_t next_ ABSL_GUARDED_BY(mutex_) = 1;
  std::map<int64_t, Subscription> subscriptions_ ABSL_GUARDED_BY(mutex_);
  std::map<int64_t, std::set<int64_t>> by_run_ ABSL_GUARDED_BY(mutex_);
  std::map<int64_t, Callback> all_ ABSL_GUARDED_BY(mutex_);
  // What the last look saw.
  std::map<int64_t, RunMark> marks_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace finetuned
