#pragma once

#include <functional>
#include <list>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "daemon/metrics.h"
#include "db/leases.h"

namespace finetuned {

// Hands waiting runs to workers: the one place of a daemon that claims, because one claimer that
// batches is faster than many that meet. Workers' polls wait here, in the order they came. A look
// at the queue is made when a poll comes, when something was queued, and once a second for what
// this daemon was not told of. One look serves all polls, so its cost does not grow with them.
class Dispatcher {
 public:
  struct Poll {
    int64_t session = 0;
    Shape free;
    size_t max_count = 1;
    std::vector<AttemptId> held;
    // By the clock's SinceBoot.
    absl::Duration deadline;
    // Whether the caller has gone; a lease given to it would have to heal first.
    std::function<bool()> is_gone;
    // Called once: with leases, with none when the time is over, or with an error.
    std::function<void(absl::StatusOr<std::vector<LeasedRun>>)> answer;
  };

  // Polls that wait; more are refused with UNAVAILABLE.
  static constexpr size_t kMaxPolls = 10000;
  // How often the whole queue is looked at, without the low-water hints.
  static constexpr absl::Duration kThoroughInterval = absl::Seconds(1);

  Dispatcher(LeaseStore* leases, const Clock* clock) : leases_(*leases), clock_(*clock) {}
  ~Dispatcher() { Stop(); }

  void Start();
  // Answers all polls with none. May be called twice.
  void Stop();

  void Submit(Poll poll);
  // Something was queued.
  void Wake();

 private:
  struct Waiting {
    enum class State {
      // To be looked at before it is given anything.
      kNew,
      kReady,
      // It may have nothing for now; looked at again by a thorough pass.
      kResting,
    };
    Poll poll;
    State state = State::kNew;
    bool on_trial = false;
    // To be taken off the list.
    bool answered = false;

    void Answer(absl::StatusOr<std::vector<LeasedRun>> leases) {
      answered = true;
      poll.answer(std::move(leases));
    }
  };

  void Loop();
  // What a pass leaves behind.
  enum class Rest {
    kNothing,
    // There may be more to grant.
    kMore,
    // A worker was to have something and got nothing, so that others may have it.
    kRefused,
  };
  // One pass over the polls, in their order.
  Rest Pass(bool thorough);
  void Check(bool thorough);
  Rest Grant(bool thorough);

  LeaseStore& leases_;
  const Clock& clock_;
  std::thread thread_;

  Mutex mutex_;
  CondVar changed_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  bool woken_ ABSL_GUARDED_BY(mutex_) = false;
  std::list<Waiting> arrived_ ABSL_GUARDED_BY(mutex_);
  size_t poll_count_ ABSL_GUARDED_BY(mutex_) = 0;

  // Of the loop's thread alone.
  std::list<Waiting> waiting_;
};

}  // namespace finetuned
