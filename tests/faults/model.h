#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "queue/move.h"
#include "queue/run.h"

// A small world in which the production decisions of queue/ run: one run, two workers whose
// messages may be lost, repeated and overtaken, two daemons that act on what they saw a while ago,
// and a user. Every transaction is one step, as in Postgres, which locks the run's row; what is
// made of a decision is written here as apply_transitions and store_reports write it. Nothing has a
// clock: leases expire whenever they like.

namespace finetuned {

// What may happen how often, so that the world is finite.
struct ModelBounds {
  int attempts = 3;
  int expiries = 1;
  int restarts = 1;
  int duplicates = 1;
  int cancels = 1;
  int pauses = 1;
  size_t messages_on_their_way = 2;
};

// Mistakes that can be put in, to see that the checks find them.
enum class ModelMistake {
  kNone,
  // Reports are taken from any session and of any attempt.
  kUnfencedReports,
  // A daemon that has seen an expired lease does not look again before it takes it away.
  kReaperTrustsItsLook,
  // A session is not compared with the lease's when it ends an attempt.
  kUnfencedEnd,
  // An end overwrites that a cancel was acknowledged.
  kCancelForgotten,
  // A new lease gets the number of the one before.
  kEpochUsedAgain,
  // A lease does not expire while its worker is away.
  kNothingExpires,
};

// What a worker sends.
struct ModelMessage {
  enum class Kind { kReport, kEnd, kRenew };
  Kind kind = Kind::kReport;
  int worker = 0;
  int64_t session = 0;
  int64_t epoch = 0;
  // Of kReport: the highest number; of kEnd: the last.
  int64_t number = 0;
  // Of kEnd.
  int outcome = 0;
};

struct ModelWorker {
  // In the database: the newest session.
  int64_t newest_session = 0;
  // On the host: the agent's session (0: none open), the attempt it has a folder of (0: none).
  int64_t session = 0;
  int64_t epoch = 0;
  // Of that attempt: reports written, whether its trainer lives, how it ended, what it was told.
  int64_t journal = 0;
  bool trainer = false;
  int outcome = 0;
  StopKind told = StopKind::kNone;
};

// What a daemon has seen and not acted on yet.
struct ModelIntent {
  int64_t epoch = 0;
  bool by_expiry = false;
  int64_t except_session = 0;
};

class ModelWorld {
 public:
  explicit ModelWorld(ModelMistake mistake = ModelMistake::kNone);

  // Every step that is possible now, with what it does.
  using Visit = std::function<void(const std::string& step, ModelWorld next)>;
  void Steps(const ModelBounds& bounds, const Visit& visit) const;

  // What a promise says against this world; empty where all hold.
  std::string Violation() const;

  // Equal for worlds that differ in nothing that matters to what can come.
  std::string Key() const;

  // Nothing is wanted of the run any more, or the bounds let nothing more come of it.
  bool IsOver(const ModelBounds& bounds) const;

 private:
  // The database's side. Each is one transaction.
  void Acquire(int worker);
  void TakeReports(const ModelMessage& message);
  void TakeEnd(const ModelMessage& message);
  void TakeRenewal(const ModelMessage& message, bool answered);
  void OpenSession(int worker, bool listed);
  void Lose(const ModelIntent& intent);
  void Cancel();
  void Pause();
  void Resume();
  void Write(const Move& move);
  void Deliver(const ModelMessage& message, bool answered);

  void WorkerSteps(const ModelBounds& bounds, int worker, const Visit& visit) const;
  void NetworkSteps(const ModelBounds& bounds, const Visit& visit) const;
  void DaemonSteps(const Visit& visit) const;
  void UserSteps(const ModelBounds& bounds, const Visit& visit) const;

  ModelMistake mistake_;
  RunSnapshot run_;
  int lease_worker_ = 0;
  int checkpoints_ = 0;
  std::array<ModelWorker, 2> workers_;
  std::array<std::optional<ModelIntent>, 2> intents_;
  std::vector<ModelMessage> messages_;
  int expiries_ = 0, restarts_ = 0, duplicates_ = 0, cancels_ = 0, pauses_ = 0;

  // What the checks remember.
  int64_t sessions_ = 0;
  int64_t highest_epoch_ = 0;
  int terminal_events_ = 0;
  std::array<int, 8> ends_of_epoch_{};
  bool cancel_acked_ = false;
  bool pause_acked_ = false;
  // The attempt whose trainer has trained to the end, wherever it was.
  std::array<bool, 8> finished_{};
  std::string wrong_;
};

// What was found.
struct ModelReport {
  // Worlds, or walks.
  int64_t states = 0;
  int64_t steps = 0;
  // The first violation, and the shortest list of steps to it; empty where there is none.
  std::string violation;
  std::vector<std::string> trace;
};

// Every world that can come within the bounds, nearest first; then, whether each of them can still
// come to an end. `max_states` ends it early, and without the latter.
ModelReport ExploreModel(const ModelWorld& start, const ModelBounds& bounds, int64_t max_states);

// One walk after the other through larger worlds, by chance that `seed` decides.
ModelReport WalkModel(const ModelWorld& start, const ModelBounds& bounds, uint64_t seed,
                      int walk_count, int walk_length);

}  // namespace finetuned
