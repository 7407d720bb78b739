#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tests/faults/pg_gate.h"
#include "tests/faults/scene.h"

// Steps the real transactions of several sessions through every order in which the database can be
// made to run their statements, and looks at what each order comes to.

namespace finetuned {

// What one session does, by the production code; its answer in words, for the check.
using Act = std::function<std::string(Stores&, const Scene&)>;

struct Race {
  std::string name;
  SceneOptions scene;
  std::vector<std::pair<std::string, Act>> acts;
  // What the answers must have to do with each other and with the run's state at the end; empty
  // when it is so. Beside it SceneMaker::Violations always holds.
  std::function<std::string(const std::string& state, const std::vector<std::string>& answers)>
      check = [](const std::string&, const std::vector<std::string>&) { return std::string(); };
};

struct Exploration {
  // Orders that were run.
  int schedules = 0;
  // What was wrong in the first bad one, with its order; empty when none was.
  std::string violation;
  // How often the SQL was changed on its way.
  int mutations = 0;
};

class Explorer {
 public:
  // With a mutation the sessions run changed SQL; scenes are made with the real one.
  explicit Explorer(SceneMaker* scenes, PgGate::Mutation mutation = {});
  ~Explorer();

  // All orders, depth first, up to the first bad one.
  Exploration Explore(const Race& race);

 private:
  struct Session;
  // One order: the choices in `prefix`, then always the first session that can go on. Sets how many
  // could at each step.
  std::string RunOnce(const Race& race, const std::vector<size_t>& prefix,
                      std::vector<std::pair<size_t, size_t>>* choices);
  // Waits until every session is done, waits at its gate, or waits for a lock; whether that came to
  // be.
  bool Settle(const std::vector<Session*>& sessions);

  SceneMaker& scenes_;
  const PgGate::Mutation mutation_;
  TestSession watcher_;
  // Something may have changed with a session.
  void Changed() ABSL_LOCKS_EXCLUDED(mutex_);

  Mutex mutex_;
  CondVar changed_;
  uint64_t changes_ ABSL_GUARDED_BY(mutex_) = 0;
  // Last, because their threads call Changed().
  std::vector<std::unique_ptr<Session>> sessions_;
};

}  // namespace finetuned
