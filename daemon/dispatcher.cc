#include "daemon/dispatcher.h"

#include <set>

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
      arrived_.emplace_back().poll = std::move(poll);
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
  bool again = false;
  for (;;) {
    bool stopping;
    {
      MutexLock lock(mutex_);
      if (arrived_.empty() && !woken_ && !stopping_ && !again) {
        const absl::Duration wait =
            std::max(next_thorough - clock_.SinceBoot(), absl::Milliseconds(1));
        changed_.WaitFor(mutex_, wait);
      }
      woken_ = false;
      stopping = stopping_;
      waiting_.splice(waiting_.end(), arrived_);
    }
    if (stopping) {
      for (Waiting& waiting : waiting_) waiting.Answer(std::vector<LeasedRun>());
      waiting_.clear();
      return;
    }
    const bool thorough = clock_.SinceBoot() >= next_thorough;
    if (thorough) next_thorough = clock_.SinceBoot() + kThoroughInterval;
    const Rest rest = Pass(thorough);
    // Once is enough to find out that the worker may not; a run that is locked is waited for.
    again = rest == Rest::kMore || (rest == Rest::kRefused && !again);
    MutexLock lock(mutex_);
    poll_count_ = waiting_.size() + arrived_.size();
  }
}

Dispatcher::Rest Dispatcher::Pass(bool thorough) {
  Check(thorough);
  const Rest rest = Grant(thorough);
  for (Waiting& waiting : waiting_) {
    if (waiting.answered) continue;
    if (clock_.SinceBoot() >= waiting.poll.deadline || waiting.poll.is_gone()) {
      waiting.Answer(std::vector<LeasedRun>());
    }
  }
  waiting_.remove_if([](const Waiting& waiting) { return waiting.answered; });
  return rest;
}

// How the polls that came since the last pass stand; those with leases to hear of are answered.
void Dispatcher::Check(bool thorough) {
  std::vector<Waiting*> unknown;
  std::vector<SessionHolds> sessions;
  for (Waiting& waiting : waiting_) {
    if (waiting.state == Waiting::State::kReady) continue;
    if (waiting.state == Waiting::State::kResting && !thorough) continue;
    unknown.push_back(&waiting);
    sessions.push_back({waiting.poll.session, waiting.poll.held});
  }
  if (unknown.empty()) return;
  auto standings = leases_.Check(sessions);
  for (size_t i = 0; i < unknown.size(); ++i) {
    Waiting& waiting = *unknown[i];
    if (!standings.ok()) {
      waiting.Answer(standings.status());
    } else if (auto& standing = (*standings)[i]; !standing.ok()) {
      waiting.Answer(standing.status());
    } else if (!standing->unlisted.empty()) {
      waiting.Answer(std::move(standing->unlisted));
    } else {
      waiting.state = standing->may_have_more ? Waiting::State::kReady : Waiting::State::kResting;
      waiting.on_trial = standing->on_trial;
    }
  }
}

Dispatcher::Rest Dispatcher::Grant(bool thorough) {
  std::vector<Waiting*> ready;
  std::vector<Claim> claims;
  // A worker that has given up a poll and made another has room for one of them.
  std::set<int64_t> asking, served;
  for (Waiting& waiting : waiting_) {
    // A lease given to a caller that has gone would have to heal first.
    if (waiting.answered || waiting.state != Waiting::State::kReady || waiting.poll.is_gone() ||
        !asking.insert(waiting.poll.session).second) {
      continue;
    }
    ready.push_back(&waiting);
    claims.push_back(
        {waiting.poll.session, waiting.on_trial, waiting.poll.free, waiting.poll.max_count});
  }
  if (ready.empty()) return Rest::kNothing;
  auto acquired = leases_.Acquire(claims, thorough);
  if (!acquired.ok()) {
    for (Waiting* waiting : ready) waiting->Answer(acquired.status());
    return Rest::kNothing;
  }
  Rest rest = acquired->full ? Rest::kMore : Rest::kNothing;
  for (size_t i = 0; i < ready.size(); ++i) {
    Acquisition::Grant& grant = acquired->grants[i];
    if (!grant.leases.empty()) {
      served.insert(ready[i]->poll.session);
      ready[i]->Answer(std::move(grant.leases));
    } else if (grant.refused) {
      ready[i]->state = Waiting::State::kNew;
      if (rest == Rest::kNothing) rest = Rest::kRefused;
    }
  }
  for (Waiting& waiting : waiting_) {
    if (served.count(waiting.poll.session) > 0) waiting.state = Waiting::State::kNew;
  }
  return rest;
}

}  // namespace finetuned
