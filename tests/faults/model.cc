#include "tests/faults/model.h"

#include <algorithm>
#include <deque>
#include <random>

#include "absl/container/flat_hash_map.h"
#include "absl/hash/hash.h"
#include "absl/strings/str_cat.h"
#include "queue/pause.h"
#include "queue/report.h"

namespace finetuned {
namespace {

// Enough that a run is failed for its losses within the bounds of a walk, and not of a search.
const RetryLimits kLimits = [] {
  RetryLimits limits;
  limits.infrastructure = 3;
  limits.worker_losses = 2;
  return limits;
}();

// What a trainer can come to: the outcomes of kEnd.
enum Outcome { kFinished = 1, kKilled, kFailedByItself, kBadData, kStopped };

// The lines of a trainer, in their order.
constexpr EventType kScript[] = {EventType::kStarted, EventType::kCheckpointSaved,
                                 EventType::kTrainFinished};
constexpr int64_t kScriptLength = 3;

AttemptEnd EndOf(int outcome, StopKind told) {
  AttemptEnd end;
  switch (outcome) {
    case kFinished:
      end.exit_code = 0;
      end.finished = true;
      break;
    case kKilled: end.signal = 9; break;
    case kFailedByItself: end.exit_code = 1; break;
    case kBadData: end.exit_code = 65; break;
    case kStopped:
      end.exit_code = 75;
      end.stop = told;
      break;
  }
  return end;
}

const char* OutcomeName(int outcome) {
  constexpr const char* kNames[] = {"?", "finished", "was killed", "failed", "bad data", "stopped"};
  return kNames[outcome];
}

bool MayBecomeOf(RunState from, RunState to) {
  if (from == to) return true;
  for (const RunTransition transition : kAllRunTransitions) {
    const auto next = Apply(from, transition);
    if (next.ok() && *next == to) return true;
  }
  return false;
}

}  // namespace

ModelWorld::ModelWorld(ModelMistake mistake) : mistake_(mistake) {
  run_.run_id = 1;
  run_.last_seq = 1;
  run_.max_retries = 1;
}

// ---- The database's side ----

void ModelWorld::Write(const Move& move) {
  if (IsTerminal(run_.state)) wrong_ = "a terminal run was moved";
  if (!MayBecomeOf(move.from, move.to)) wrong_ = "a move along no edge";
  if (move.from != run_.state) wrong_ = "a move from where the run is not";
  run_.state = move.to;
  run_.stop_requested = move.stop_requested;
  ++run_.last_seq;
  if (IsTerminal(move.to)) ++terminal_events_;
  if (move.ends_attempt) {
    run_.attempts.back().attribution = move.attribution;
    run_.attempts.back().worker_lost = move.worker_lost;
    run_.lease_epoch = run_.session_id = 0;
    run_.lease_expired = false;
    ++ends_of_epoch_[run_.epoch];
  }
  if (move.drops_checkpoint) --checkpoints_;
  run_.has_checkpoint = checkpoints_ > 0;
  run_.has_older_checkpoint = checkpoints_ > 1;
  if (move.to == RunState::kCompleted && !finished_[run_.epoch]) {
    wrong_ = "a run is completed that no trainer of its newest attempt has finished";
  }
}

void ModelWorld::Acquire(int worker) {
  ModelWorker& w = workers_[worker];
  if (w.session != w.newest_session) return;
  // What it holds and does not list: the answer was lost.
  if (run_.lease_epoch != 0 && run_.session_id == w.session) return;
  if (run_.state != RunState::kPending) return;
  const auto next = Apply(run_.state, RunTransition::kLease);
  if (!next.ok()) wrong_ = "a run cannot be leased";
  run_.state = *next;
  if (mistake_ != ModelMistake::kEpochUsedAgain || run_.epoch == 0) ++run_.epoch;
  if (run_.epoch <= highest_epoch_) wrong_ = "an epoch was granted twice";
  highest_epoch_ = run_.epoch;
  PastAttempt attempt;
  attempt.epoch = run_.epoch;
  attempt.worker_id = worker + 1;
  run_.attempts.push_back(attempt);
  run_.acked_report = 0;
  run_.lease_epoch = run_.epoch;
  run_.session_id = w.session;
  run_.lease_expired = false;
  lease_worker_ = worker;
}

void ModelWorld::TakeReports(const ModelMessage& message) {
  std::vector<IncomingReport> reports;
  for (int64_t number = 1; number <= message.number; ++number) {
    IncomingReport report;
    report.number = number;
    report.type = kScript[number - 1];
    if (report.type == EventType::kCheckpointSaved) report.checkpoint.emplace();
    reports.push_back(report);
  }
  int64_t session = message.session;
  int64_t epoch = message.epoch;
  if (mistake_ == ModelMistake::kUnfencedReports && run_.lease_epoch != 0) {
    session = run_.session_id;
    epoch = run_.lease_epoch;
  }
  const auto outcome = DecideReports(run_, session, epoch, reports);
  if (!outcome.ok() || !outcome->Changes(run_)) return;
  if (message.epoch != highest_epoch_ || IsTerminal(run_.state)) {
    wrong_ = "a report of an attempt was stored that is not current";
  }
  if (!MayBecomeOf(run_.state, outcome->state)) wrong_ = "reports moved a run along no edge";
  run_.state = outcome->state;
  run_.last_seq = outcome->last_seq;
  run_.acked_report = outcome->acked_report;
  if (!outcome->checkpoints.empty()) {
    run_.attempts.back().saved = true;
    checkpoints_ = std::min(checkpoints_ + 1, 2);
  }
  run_.has_checkpoint = checkpoints_ > 0;
  run_.has_older_checkpoint = checkpoints_ > 1;
}

void ModelWorld::TakeEnd(const ModelMessage& message) {
  RunSnapshot seen = run_;
  if (mistake_ == ModelMistake::kUnfencedEnd) seen.session_id = message.session;
  if (mistake_ == ModelMistake::kCancelForgotten) seen.stop_requested = StopKind::kNone;
  const StopKind told = workers_[message.worker].told;
  const auto move = MoveAtCompletion(seen, message.session, message.epoch, message.number,
                                     EndOf(message.outcome, told), kLimits);
  if (!move.ok()) return;
  if (message.epoch != run_.lease_epoch || message.session != run_.session_id) {
    wrong_ = "an attempt was ended by a session that does not hold it";
  }
  Write(*move);
}

void ModelWorld::TakeRenewal(const ModelMessage& message, bool answered) {
  const bool held = run_.HeldBy(message.session, message.epoch);
  if (held) run_.lease_expired = false;
  ModelWorker& w = workers_[message.worker];
  if (!answered || w.epoch != message.epoch || w.session != message.session) return;
  if (held) {
    w.told = run_.stop_requested;
  } else {
    // LEASE_LOST: the trainer is killed and the folder removed.
    w.epoch = w.journal = w.outcome = 0;
    w.trainer = false;
    w.told = StopKind::kNone;
  }
}

void ModelWorld::OpenSession(int worker, bool listed) {
  ModelWorker& w = workers_[worker];
  w.newest_session = w.session = ++sessions_;
  if (run_.lease_epoch == 0 || lease_worker_ != worker) return;
  if (listed && w.epoch == run_.lease_epoch) {
    run_.session_id = w.session;
    run_.lease_expired = false;
    return;
  }
  // The daemon that has opened it takes the lost attempt away in a transaction of its own.
  intents_[0] = ModelIntent{run_.lease_epoch, false, w.session};
}

void ModelWorld::Lose(const ModelIntent& intent) {
  RunSnapshot seen = run_;
  if (mistake_ == ModelMistake::kReaperTrustsItsLook && intent.by_expiry) {
    seen.lease_expired = true;
  }
  const auto move = MoveAtLoss(
      seen, {intent.epoch, intent.by_expiry, intent.except_session, "Nobody knows."}, kLimits);
  if (!move.ok()) {
    wrong_ = "a loss could not be written";
    return;
  }
  if (!move->has_value()) return;
  if (intent.by_expiry && !run_.lease_expired) wrong_ = "a lease was taken that had been renewed";
  Write(**move);
}

void ModelWorld::Cancel() {
  const auto move = MoveAtCancel(run_, "Canceled by user.");
  if (!move.ok()) wrong_ = "a cancel was refused";
  if (!IsTerminal(run_.state)) cancel_acked_ = true;
  if (move.ok() && move->has_value()) Write(**move);
}

void ModelWorld::Pause() {
  const auto move = MoveAtPause(run_, 0, "Paused by user.");
  if (!move.ok()) return;
  pause_acked_ = true;
  if (move->has_value()) Write(**move);
}

void ModelWorld::Resume() {
  if (!CheckResume(run_).ok()) return;
  pause_acked_ = false;
  run_.state = *Apply(run_.state, RunTransition::kResume);
  ++run_.last_seq;
}

void ModelWorld::Deliver(const ModelMessage& message, bool answered) {
  switch (message.kind) {
    case ModelMessage::Kind::kReport: TakeReports(message); break;
    case ModelMessage::Kind::kEnd: {
      TakeEnd(message);
      ModelWorker& w = workers_[message.worker];
      const bool stored = ends_of_epoch_[message.epoch] > 0;
      if (answered && stored && w.epoch == message.epoch && w.session == message.session) {
        w.epoch = w.journal = w.outcome = 0;
        w.told = StopKind::kNone;
      }
      break;
    }
    case ModelMessage::Kind::kRenew: TakeRenewal(message, answered); break;
  }
}

// ---- What can happen ----

void ModelWorld::WorkerSteps(const ModelBounds& bounds, int worker, const Visit& visit) const {
  const ModelWorker& w = workers_[worker];
  const std::string who = absl::StrCat("w", worker + 1, " ");
  const auto step = [&](const std::string& what, const std::function<void(ModelWorld&)>& change) {
    ModelWorld next = *this;
    change(next);
    visit(who + what, std::move(next));
  };
  if (w.session == 0) {
    step("opens a session", [&](ModelWorld& n) { n.OpenSession(worker, w.epoch != 0); });
    return;
  }
  if (restarts_ < bounds.restarts) {
    step("its agent dies", [&](ModelWorld& n) {
      ++n.restarts_;
      n.workers_[worker].session = 0;
    });
    step("its host restarts", [&](ModelWorld& n) {
      ++n.restarts_;
      const int64_t newest = w.newest_session;
      n.workers_[worker] = ModelWorker{};
      n.workers_[worker].newest_session = newest;
    });
  }
  if (w.epoch == 0) {
    const bool unlisted = run_.lease_epoch != 0 && run_.session_id == w.session;
    if (!unlisted && (run_.state != RunState::kPending || run_.epoch >= bounds.attempts)) return;
    step("leases, its answer lost", [&](ModelWorld& n) { n.Acquire(worker); });
    step("leases", [&](ModelWorld& n) {
      n.Acquire(worker);
      if (n.run_.lease_epoch == 0 || n.run_.session_id != w.session) return;
      n.workers_[worker].epoch = n.run_.lease_epoch;
      n.workers_[worker].trainer = true;
      n.workers_[worker].told = n.run_.stop_requested;
    });
    return;
  }
  // What a trainer of an attempt that is not current says makes no difference: it is refused before
  // anybody looks at it. It stays where it was, and may end.
  const bool stale = w.epoch != run_.lease_epoch;
  if (w.trainer && !stale && w.journal < kScriptLength) {
    step("its trainer says more", [&](ModelWorld& n) {
      if (++n.workers_[worker].journal == kScriptLength) n.finished_[w.epoch] = true;
    });
  }
  if (w.trainer) {
    std::vector<int> outcomes = {w.journal == kScriptLength ? kFinished : kKilled};
    // Where in training it fails makes no difference either.
    if (!stale && w.journal == 1) outcomes.insert(outcomes.end(), {kFailedByItself, kBadData});
    if (!stale && w.told != StopKind::kNone) outcomes.push_back(kStopped);
    for (const int outcome : outcomes) {
      step(absl::StrCat("its trainer ", OutcomeName(outcome)), [&](ModelWorld& n) {
        n.workers_[worker].trainer = false;
        n.workers_[worker].outcome = outcome;
      });
    }
  }
  if (messages_.size() >= bounds.messages_on_their_way) return;
  const auto send = [&](const char* what, ModelMessage::Kind kind, int64_t number, int outcome) {
    step(what, [&](ModelWorld& n) {
      n.messages_.push_back({kind, worker, w.session, w.epoch, number, outcome});
    });
  };
  if (w.journal > 0) send("sends its reports", ModelMessage::Kind::kReport, w.journal, 0);
  if (w.outcome != 0) send("sends the end", ModelMessage::Kind::kEnd, w.journal, w.outcome);
  send("sends a renewal", ModelMessage::Kind::kRenew, 0, 0);
}

void ModelWorld::NetworkSteps(const ModelBounds& bounds, const Visit& visit) const {
  constexpr const char* kKinds[] = {"reports", "end", "renewal"};
  for (size_t i = 0; i < messages_.size(); ++i) {
    const ModelMessage& message = messages_[i];
    const std::string what =
        absl::StrCat(kKinds[static_cast<int>(message.kind)], " of w", message.worker + 1,
                     " for attempt ", message.epoch, ", session ", message.session);
    ModelWorld without = *this;
    without.messages_.erase(without.messages_.begin() + i);
    visit("lost: " + what, without);
    ModelWorld answered = without;
    answered.Deliver(message, true);
    visit("arrive: " + what, std::move(answered));
    if (message.kind != ModelMessage::Kind::kReport) {
      ModelWorld unanswered = without;
      unanswered.Deliver(message, false);
      visit("arrive, the answer lost: " + what, std::move(unanswered));
    }
    if (duplicates_ < bounds.duplicates) {
      ModelWorld twice = *this;
      ++twice.duplicates_;
      twice.Deliver(message, true);
      visit("arrive and are still on their way: " + what, std::move(twice));
    }
  }
}

void ModelWorld::DaemonSteps(const Visit& visit) const {
  for (size_t i = 0; i < intents_.size(); ++i) {
    const std::string who = absl::StrCat("d", i + 1, " ");
    ModelWorld next = *this;
    if (intents_[i].has_value()) {
      next.intents_[i].reset();
      ModelWorld crashed = next;
      next.Lose(*intents_[i]);
      visit(who + "takes the lost attempt away", std::move(next));
      visit(who + "dies before it does anything", std::move(crashed));
    } else if (run_.lease_expired) {
      next.intents_[i] = ModelIntent{run_.lease_epoch, true, 0};
      visit(who + "sees an expired lease", std::move(next));
    }
  }
}

void ModelWorld::UserSteps(const ModelBounds& bounds, const Visit& visit) const {
  if (cancels_ < bounds.cancels && !IsTerminal(run_.state)) {
    ModelWorld next = *this;
    ++next.cancels_;
    next.Cancel();
    visit("the user cancels", std::move(next));
  }
  if (pauses_ < bounds.pauses && !IsTerminal(run_.state)) {
    ModelWorld next = *this;
    ++next.pauses_;
    next.Pause();
    visit("the user pauses", std::move(next));
  }
  if (run_.state == RunState::kPaused) {
    ModelWorld next = *this;
    next.Resume();
    visit("the user resumes", std::move(next));
  }
}

void ModelWorld::Steps(const ModelBounds& bounds, const Visit& visit) const {
  // Any lease may expire so often, and one that nobody can renew any more does in the end.
  const ModelWorker& holder = workers_[lease_worker_];
  const bool left_alone =
      holder.session != run_.session_id || (holder.epoch != 0 && holder.epoch != run_.lease_epoch);
  if (run_.lease_epoch != 0 && !run_.lease_expired && mistake_ != ModelMistake::kNothingExpires &&
      (left_alone || expiries_ < bounds.expiries)) {
    ModelWorld next = *this;
    if (!left_alone) ++next.expiries_;
    next.run_.lease_expired = true;
    visit("the lease expires", std::move(next));
  }
  for (size_t worker = 0; worker < workers_.size(); ++worker) WorkerSteps(bounds, worker, visit);
  NetworkSteps(bounds, visit);
  DaemonSteps(visit);
  UserSteps(bounds, visit);
}

// ---- What must hold ----

std::string ModelWorld::Violation() const {
  if (!wrong_.empty()) return wrong_;
  if ((run_.lease_epoch != 0) != IsHeld(run_.state)) return "a lease without a held run, or back";
  if (run_.lease_epoch != 0 && run_.lease_epoch != run_.epoch) return "a lease of an old epoch";
  if (run_.stop_requested != StopKind::kNone && !IsHeld(run_.state)) {
    return "a run that nothing holds is asked to stop";
  }
  if (terminal_events_ != (IsTerminal(run_.state) ? 1 : 0)) return "not exactly one terminal event";
  for (const int ends : ends_of_epoch_) {
    if (ends > 1) return "an attempt has ended twice";
  }
  if (cancel_acked_ && run_.state != RunState::kStopped &&
      !(IsHeld(run_.state) && run_.stop_requested == StopKind::kCancel)) {
    return "a cancel that was acknowledged is lost";
  }
  if (pause_acked_ && (run_.state == RunState::kPending || run_.state == RunState::kStarting)) {
    return "a pause that was acknowledged is lost";
  }
  if (run_.state == RunState::kFailed &&
      run_.attempts.back().attribution == Attribution::kUnknown) {
    return "a run failed and nobody knows why";
  }
  return "";
}

bool ModelWorld::IsOver(const ModelBounds& bounds) const {
  return IsTerminal(run_.state) || run_.state == RunState::kPaused ||
         (run_.state == RunState::kPending && run_.epoch >= bounds.attempts);
}

std::string ModelWorld::Key() const {
  std::string key;
  key.reserve(128);
  // All numbers here are small; each takes a byte.
  const auto add = [&](auto... numbers) { (key.push_back(static_cast<char>(numbers)), ...); };
  add(run_.state, run_.stop_requested, run_.epoch, run_.lease_epoch, run_.session_id,
      run_.lease_expired, run_.acked_report, lease_worker_, checkpoints_, run_.attempts.size());
  for (const PastAttempt& attempt : run_.attempts) {
    add(attempt.attribution, attempt.worker_lost, attempt.saved, attempt.worker_id);
  }
  for (const ModelWorker& w : workers_) {
    add(w.newest_session, w.session, w.epoch, w.journal, w.trainer, w.outcome, w.told);
  }
  for (const auto& intent : intents_) {
    const ModelIntent seen = intent.value_or(ModelIntent{});
    add(seen.epoch, seen.by_expiry, seen.except_session);
  }
  for (const ModelMessage& m : messages_) {
    add(m.kind, m.worker, m.session, m.epoch, m.number, m.outcome);
  }
  add(expiries_, restarts_, duplicates_, cancels_, pauses_, cancel_acked_, pause_acked_);
  // Of earlier attempts nothing is asked any more.
  add(finished_[run_.epoch], ends_of_epoch_[run_.epoch]);
  return key;
}

// ---- The search ----

namespace {

class Search {
 public:
  Search(const ModelWorld& start, const ModelBounds& bounds, int64_t max_states)
      : start_(start), bounds_(bounds), max_states_(max_states) {
    Add(-1, 0, start);
  }

  ModelReport Run() {
    while (!frontier_.empty() && report_.violation.empty()) {
      const auto [id, world] = std::move(frontier_.front());
      frontier_.pop_front();
      uint16_t ordinal = 0;
      world.Steps(bounds_, [&, parent = id](const std::string&, ModelWorld next) {
        ++report_.steps;
        if (report_.violation.empty()) Add(parent, ordinal++, std::move(next));
      });
    }
    report_.states = static_cast<int64_t>(nodes_.size());
    if (report_.violation.empty() && complete_) FindDeadEnd();
    return std::move(report_);
  }

 private:
  // How a world was come to first: by which of its parent's steps.
  struct Node {
    int32_t parent;
    uint16_t ordinal;
    bool over;
  };

  void Add(int32_t parent, uint16_t ordinal, ModelWorld world) {
    // 128 bits stand for a key: that two of so few worlds share them will not happen.
    const std::string key = world.Key();
    const auto digest = std::make_pair(absl::HashOf(key, 1), absl::HashOf(2, key));
    const auto [known, is_new] = ids_.emplace(digest, static_cast<int32_t>(nodes_.size()));
    const int32_t id = known->second;
    if (parent >= 0) edges_.emplace_back(id, parent);
    if (!is_new) return;
    nodes_.push_back({parent, ordinal, world.IsOver(bounds_)});
    if (std::string violation = world.Violation(); !violation.empty()) {
      Found(std::move(violation), id);
    } else if (static_cast<int64_t>(nodes_.size()) < max_states_) {
      frontier_.emplace_back(id, std::move(world));
    } else {
      complete_ = false;
    }
  }

  // Goes the way there again, for the names of its steps.
  void Found(std::string violation, int32_t at) {
    report_.violation = std::move(violation);
    std::vector<uint16_t> ordinals;
    for (; at > 0; at = nodes_[at].parent) ordinals.push_back(nodes_[at].ordinal);
    ModelWorld world = start_;
    for (auto ordinal = ordinals.rbegin(); ordinal != ordinals.rend(); ++ordinal) {
      uint16_t i = 0;
      ModelWorld chosen;
      world.Steps(bounds_, [&](const std::string& step, ModelWorld next) {
        if (i++ != *ordinal) return;
        report_.trace.push_back(step);
        chosen = std::move(next);
      });
      world = std::move(chosen);
    }
  }

  // Goes back from the ends along all steps; the first world that is never come to is one.
  void FindDeadEnd() {
    std::sort(edges_.begin(), edges_.end());
    std::vector<bool> ends(nodes_.size());
    std::vector<int32_t> next;
    for (size_t id = 0; id < nodes_.size(); ++id) {
      if (nodes_[id].over) next.push_back(static_cast<int32_t>(id));
    }
    while (!next.empty()) {
      const int32_t id = next.back();
      next.pop_back();
      if (ends[id]) continue;
      ends[id] = true;
      auto edge = std::lower_bound(edges_.begin(), edges_.end(), std::make_pair(id, int32_t{0}));
      for (; edge != edges_.end() && edge->first == id; ++edge) next.push_back(edge->second);
    }
    for (size_t id = 0; id < nodes_.size(); ++id) {
      if (!ends[id]) return Found("the run can never end", static_cast<int32_t>(id));
    }
  }

  const ModelWorld start_;
  const ModelBounds bounds_;
  const int64_t max_states_;
  bool complete_ = true;
  std::vector<Node> nodes_;
  // To, from.
  std::vector<std::pair<int32_t, int32_t>> edges_;
  absl::flat_hash_map<std::pair<size_t, size_t>, int32_t> ids_;
  std::deque<std::pair<int32_t, ModelWorld>> frontier_;
  ModelReport report_;
};

}  // namespace

ModelReport ExploreModel(const ModelWorld& start, const ModelBounds& bounds, int64_t max_states) {
  return Search(start, bounds, max_states).Run();
}

ModelReport WalkModel(const ModelWorld& start, const ModelBounds& bounds, uint64_t seed,
                      int walk_count, int walk_length) {
  std::mt19937_64 random(seed);
  ModelReport report;
  for (int walk = 0; walk < walk_count; ++walk) {
    ModelWorld world = start;
    std::vector<std::string> trace;
    for (int i = 0; i < walk_length; ++i) {
      std::vector<std::pair<std::string, ModelWorld>> steps;
      world.Steps(bounds, [&](const std::string& step, ModelWorld next) {
        steps.emplace_back(step, std::move(next));
      });
      if (steps.empty()) break;
      ++report.steps;
      auto& [step, next] = steps[random() % steps.size()];
      trace.push_back(step);
      world = std::move(next);
      report.violation = world.Violation();
      if (!report.violation.empty()) {
        report.trace = std::move(trace);
        return report;
      }
    }
    ++report.states;
  }
  return report;
}

}  // namespace finetuned
