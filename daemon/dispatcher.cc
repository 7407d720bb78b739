#include "daemon/dispatcher.h"

#include "base/status.h"

namespace finetuned {

void Dispatcher::Start() {
  thread_ = std::thread([this] { Loop(); });
}

void Dispatcher::Stop() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    changed_.NotifyAll();
  }
  if (thread_.joinable()) thread_.join();
}

void Dispatcher::Submit(Poll poll) {
  {
    MutexLock lock(mutex_);
    if (!stopping_ && poll_count_ < kMaxPolls) {
      ++poll_count_;
      arrived_.push_back(std::move(poll));
      changed_.NotifyOne();
      return;
    }
  }
  poll.answer(UnavailableError("OVERLOADED", "too many workers are polling", absl::Seconds(1)));
}

void Dispatcher::Wake() {
  MutexLock lock(mutex_);
  woken_ = true;
  changed_.NotifyOne();
}

void Dispatcher::Loop() {
  absl::Duration next_thorough = clock_.SinceBoot();
  for (;;) {
    bool stopping;
    {
      MutexLock lock(mutex_);
      if (arrived_.empty() && !woken_ && !stopping_) {
        const absl::Duration wait =
            std::max(next_thorough - clock_.SinceBoot(), absl::Milliseconds(1));
        changed_.WaitFor(mutex_, wait);
      }
      woken_ = false;
      stopping = stopping_;
      polls_.splice(polls_.end(), arrived_);
    }
    if (stopping) {
      for (Poll& poll : polls_) poll.answer(std::vector<AttemptId>());
      polls_.clear();
      return;
    }
    const bool thorough = clock_.SinceBoot() >= next_thorough;
    if (thorough) next_thorough = clock_.SinceBoot() + kThoroughInterval;
    Pass(thorough);
    MutexLock lock(mutex_);
    poll_count_ = polls_.size() + arrived_.size();
  }
}

void Dispatcher::Pass(bool thorough) {
  // What a worker could not use, a smaller one cannot either; one with leases to hear of is always
  // asked for.
  std::vector<Shape> fruitless;
  for (auto poll = polls_.begin(); poll != polls_.end();) {
    if (poll->is_gone()) {
      poll->answer(std::vector<AttemptId>());
      poll = polls_.erase(poll);
      continue;
    }
    bool skip = false;
    for (const Shape& shape : fruitless) {
      skip = skip || (poll->held.empty() && Fits(poll->free, shape) && !thorough);
    }
    if (!skip) {
      auto acquired =
          leases_.Acquire(poll->session, poll->free, poll->max_count, poll->held, thorough);
      if (!acquired.ok()) {
        poll->answer(acquired.status());
        poll = polls_.erase(poll);
        continue;
      }
      if (!acquired->granted.empty()) {
        poll->answer(std::move(acquired->granted));
        poll = polls_.erase(poll);
        continue;
      }
      if (acquired->looked) fruitless.push_back(poll->free);
    }
    if (clock_.SinceBoot() >= poll->deadline) {
      poll->answer(std::vector<AttemptId>());
      poll = polls_.erase(poll);
      continue;
    }
    ++poll;
  }
}

}  // namespace finetuned
