#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "db/admission.h"
#include "db/edits.h"
#include "db/leases.h"
#include "db/transitions.h"
#include "tests/support/test_postgres.h"

// Runs for the tests of races: each of an owner of its own, so that many can be made in one
// database, and what must be true of an owner's runs whatever has happened.

namespace finetuned {

// Leases of these tests last longer than the tests.
inline constexpr absl::Duration kLeaseDuration = absl::Minutes(15);

// The stores of a daemon, over one connection.
struct Stores {
  explicit Stores(const std::string& database_url);

  Pool pool;
  AdmissionStore admission;
  LeaseStore leases;
  TransitionStore transitions;
  EditStore edits;
};

// One run for a session that has nothing, as the dispatcher claims it: nothing where there is none.
absl::StatusOr<std::optional<AttemptId>> AcquireOne(LeaseStore& leases, int64_t session);

// How far a scene's run has come.
enum class Stage { kPending, kLeased, kRunning, kTrained, kPaused };

struct SceneOptions {
  Stage stage = Stage::kRunning;
  // Whether its lease has expired.
  bool expired = false;
  // The owner's limits.
  int active_limit = 10;
  std::optional<int> holding_limit;
  // What the holding limit is raised to when all runs are there.
  std::optional<int> raised_holding_limit;
  // Further runs of the owner that wait.
  int others = 0;
  bool registers = false;
};

struct Scene {
  int64_t workspace_id = 0;
  int64_t owner_id = 0;
  int64_t run_id = 0;
  int64_t epoch = 0;
  // The worker that has the run, and another.
  std::string worker;
  int64_t session = 0;
  int64_t other_session = 0;
  std::vector<int64_t> others;
};

class SceneMaker {
 public:
  SceneMaker();

  const TestPostgres::Database& database() const { return database_; }
  Scene Make(const SceneOptions& options);
  // A create of this scene's owner.
  NewRun NewRunOf(const Scene& scene, const std::string& name) const;
  // First column of the first row, as the superuser.
  std::string Sql(const std::string& sql);
  // Of the scene's run.
  std::string State(const Scene& scene);
  // What is not as it must be with the owner's runs, a line each; empty when all is well.
  std::string Violations(const Scene& scene);

 private:
  TestPostgres::Database database_;
  TestSession admin_;
  Stores stores_;
  int next_ = 1;
};

}  // namespace finetuned
