#include "tests/faults/explorer.h"

#include <atomic>
#include <thread>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "db/array.h"

namespace finetuned {
namespace {

// No order takes longer; a deadlock is found by Postgres after a second.
constexpr absl::Duration kStuck = absl::Seconds(30);
// How long a request is with the server before it may wait for a lock.
constexpr absl::Duration kQuick = absl::Microseconds(500);
// What an order may have gone wrong by without anybody being told: it was run again.
constexpr char kDeadlock[] = "40P01";
constexpr char kLockTimeout[] = "55P03";

std::string SocketFolder(const std::string& url) {
  const size_t begin = url.find("host=") + 5;
  return url.substr(begin, url.find(' ', begin) - begin);
}

std::string Through(const std::string& url, const std::string& folder) {
  return "host=" + folder + url.substr(url.find(' '));
}

}  // namespace

struct Explorer::Session {
  Session(const std::string& url, const PgGate::Mutation& mutation, std::function<void()> changed)
      : gate(SocketFolder(url), mutation, std::move(changed)), stores(Through(url, gate.folder())) {
    PrepareAllStatements(stores.pool);
  }

  PgGate gate;
  Stores stores;
  std::thread thread;
  std::atomic<bool> done = true;
  std::string answer;
};

Explorer::Explorer(SceneMaker* scenes, PgGate::Mutation mutation)
    : scenes_(*scenes), mutation_(std::move(mutation)), watcher_(scenes->database().admin_url) {}

Explorer::~Explorer() = default;

void Explorer::Changed() {
  MutexLock lock(mutex_);
  ++changes_;
  changed_.NotifyAll();
}

bool Explorer::Settle(const std::vector<Session*>& sessions) {
  // Only locks of each other count: those of a vacuum go away by themselves.
  std::vector<int> backends;
  for (Session* session : sessions) backends.push_back(session->gate.backend_pid());
  const absl::Duration begin = RealClock::Get().SinceBoot();
  while (true) {
    uint64_t seen;
    {
      MutexLock lock(mutex_);
      seen = changes_;
    }
    bool settled = true;
    const absl::Duration waited = RealClock::Get().SinceBoot() - begin;
    for (Session* session : sessions) {
      if (session->done || session->gate.waiting().has_value()) continue;
      settled = settled && waited > kQuick && session->gate.with_server() &&
                watcher_.Query(absl::StrCat("select pg_blocking_pids(", session->gate.backend_pid(),
                                            ") && '", ArrayOf(backends), "'::int[]")) == "t";
    }
    if (settled) return true;
    if (waited > kStuck) return false;
    MutexLock lock(mutex_);
    if (changes_ == seen) changed_.WaitFor(mutex_, kQuick);
  }
}

std::string Explorer::RunOnce(const Race& race, const std::vector<size_t>& prefix,
                              std::vector<std::pair<size_t, size_t>>* choices) {
  const Scene scene = scenes_.Make(race.scene);
  std::vector<Session*> sessions;
  for (size_t i = 0; i < race.acts.size(); ++i) sessions.push_back(sessions_[i].get());
  for (size_t i = 0; i < sessions.size(); ++i) {
    Session* const session = sessions[i];
    session->gate.SetArmed(true);
    session->done = false;
    session->thread = std::thread([this, session, &scene, act = race.acts[i].second] {
      session->answer = act(session->stores, scene);
      session->done = true;
      Changed();
    });
  }
  std::string trace, wrong;
  while (wrong.empty()) {
    if (!Settle(sessions)) {
      wrong = "a session does not go on";
      break;
    }
    std::vector<size_t> ready;
    bool all_done = true;
    bool begun = false;
    for (size_t i = 0; i < sessions.size(); ++i) {
      all_done = all_done && sessions[i]->done;
      const std::optional<std::string> waiting = sessions[i]->gate.waiting();
      if (!waiting.has_value()) continue;
      // A transaction sees nothing, and keeps nobody from anything, before its first statement.
      if (*waiting == "begin") {
        sessions[i]->gate.Grant();
        begun = true;
      }
      ready.push_back(i);
    }
    if (all_done) break;
    if (begun) continue;
    // All wait for each other: Postgres will find out.
    if (ready.empty()) {
      MutexLock lock(mutex_);
      changed_.WaitFor(mutex_, absl::Milliseconds(20));
      continue;
    }
    const size_t choice = choices->size() < prefix.size() ? prefix[choices->size()] : 0;
    if (choice >= ready.size()) {
      wrong = "the same choices do not come to the same place again";
      break;
    }
    choices->emplace_back(choice, ready.size());
    Session* const next = sessions[ready[choice]];
    absl::StrAppend(&trace, "\n    ", race.acts[ready[choice]].first, ": ",
                    next->gate.waiting().value_or("?"));
    next->gate.Grant();
  }
  for (Session* session : sessions) session->gate.SetArmed(false);
  std::vector<std::string> answers;
  for (Session* session : sessions) {
    session->thread.join();
    answers.push_back(session->answer);
    for (const std::string& error : session->gate.TakeErrors()) {
      if (error == kDeadlock) wrong = "a deadlock";
      if (error == kLockTimeout) wrong = "a lock that was waited for too long";
    }
  }
  const std::string state = scenes_.State(scene);
  if (wrong.empty()) wrong = scenes_.Violations(scene);
  if (wrong.empty()) wrong = race.check(state, answers);
  if (wrong.empty()) return "";
  std::string text = absl::StrCat(race.name, ": ", wrong, "\n  the run is ", state);
  for (size_t i = 0; i < answers.size(); ++i) {
    absl::StrAppend(&text, "\n  ", race.acts[i].first, " answered ", answers[i]);
  }
  return absl::StrCat(text, "\n  in the order", trace);
}

Exploration Explorer::Explore(const Race& race) {
  while (sessions_.size() < race.acts.size()) {
    sessions_.push_back(
        std::make_unique<Session>(scenes_.database().daemon_url, mutation_, [this] { Changed(); }));
  }
  Exploration exploration;
  std::vector<size_t> prefix;
  while (true) {
    std::vector<std::pair<size_t, size_t>> choices;
    ++exploration.schedules;
    exploration.violation = RunOnce(race, prefix, &choices);
    // The deepest place where another session could have gone on.
    while (!choices.empty() && choices.back().first + 1 >= choices.back().second) {
      choices.pop_back();
    }
    if (!exploration.violation.empty() || choices.empty()) break;
    prefix.clear();
    for (const auto& [choice, count] : choices) prefix.push_back(choice);
    ++prefix.back();
  }
  for (const auto& session : sessions_) exploration.mutations += session->gate.mutations_made();
  return exploration;
}

}  // namespace finetuned
