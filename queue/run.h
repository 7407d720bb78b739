#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "queue/run_state.h"

namespace finetuned {

// The stop that a run was asked for. The values are those of finetuned.v1.StopKind.
enum class StopKind { kNone = 0, kCancel = 1, kPause = 2, kPreempt = 3, kDeadline = 4 };

// The name, as in the proto and in SQL; empty for kNone.
const char* Name(StopKind kind);
// kNone for an empty text; nothing for one that is no name.
std::optional<StopKind> ParseStopKind(std::string_view name);

// Place in the queue before arrival counts; smaller goes first. The values of
// finetuned.v1.Scheduling.Priority less one.
enum class Priority { kHigh = 0, kAuto = 1, kLow = 2, kLowest = 3 };
inline constexpr int kPriorityCount = 4;

// Who has to act when something failed. The values are those of finetuned.v1.Failure.Attribution.
enum class Attribution {
  kUnknown = 0,
  kUser = 1,
  kInternal = 2,
  kNetwork = 3,
  kInfrastructure = 4,
  kOutOfMemory = 5,
  kStalled = 6,
  kPreempted = 7,
  kData = 8,
};

inline constexpr std::array<Attribution, 9> kAllAttributions = {
    Attribution::kUnknown, Attribution::kUser,           Attribution::kInternal,
    Attribution::kNetwork, Attribution::kInfrastructure, Attribution::kOutOfMemory,
    Attribution::kStalled, Attribution::kPreempted,      Attribution::kData,
};

// The name, as in the proto and in SQL; empty for kUnknown.
const char* Name(Attribution attribution);
// kUnknown for an empty text; nothing for one that is no name.
std::optional<Attribution> ParseAttribution(std::string_view name);

// An attempt, as the decisions about what follows see it.
struct PastAttempt {
  int64_t epoch = 0;
  int64_t worker_id = 0;
  // Of its end; kUnknown while it has not ended, and where it did not fail.
  Attribution attribution = Attribution::kUnknown;
  // It ended because its worker was gone.
  bool worker_lost = false;
  // It has saved a checkpoint that was listed.
  bool saved = false;
  // From its lease to the last that was heard of its worker.
  absl::Duration lived;
};

// A run as it is stored. Serialised messages are opaque here: only the daemon reads them.
struct Run {
  int64_t run_id = 0;
  std::string workspace;
  std::string owner_email;
  std::string name;
  std::string uid;
  RunState state = RunState::kPending;
  StopKind stop_requested = StopKind::kNone;
  int64_t epoch = 0;
  int64_t last_seq = 0;
  int shape_id = 0;
  Priority priority = Priority::kAuto;
  int64_t queue_pos = 0;
  absl::Time create_time;
  absl::Time update_time;
  std::optional<absl::Time> start_time;
  std::optional<absl::Time> end_time;
  std::optional<absl::Time> estimated_end_time;
  std::string state_reason;
  std::map<std::string, std::string> labels;
  // Pages where else it can be seen, by the name of their system.
  std::map<std::string, std::string> links;
  // Serialised RunSpec, Progress, and Failure; the last two may be empty.
  std::string spec;
  std::string progress;
  std::string failure;
  std::string experiment_path;
  std::string experiment_uid;
  int max_retries = 0;
  // 0 for no limit.
  int64_t max_run_seconds = 0;
  int64_t max_queue_seconds = 0;
  // With PENDING: the next attempt is not queued before.
  std::optional<absl::Time> retry_time;
  // Relative to the artifact root; empty without one.
  std::string latest_checkpoint;
  // The worker that holds its lease; empty without one.
  std::string worker;
  // Of the model it has registered, by its spec's register_to; 0 for none.
  int registered_version = 0;
  // Name of the run whose weights it started from; empty without one.
  std::string source_run;
};

// Differs whenever the run has changed.
std::string EtagOf(int64_t last_seq, absl::Time update_time);

// The part of a run that decisions are made on, read under the row's lock together with its lease.
struct RunSnapshot {
  int64_t run_id = 0;
  RunState state = RunState::kPending;
  StopKind stop_requested = StopKind::kNone;
  int64_t epoch = 0;
  int64_t last_seq = 0;
  int max_retries = 0;
  // Of the lease; 0 without one.
  int64_t lease_epoch = 0;
  int64_t session_id = 0;
  bool lease_expired = false;
  // Of the newest attempt; 0 without one.
  int64_t acked_report = 0;
  bool has_checkpoint = false;
  // Whether it has more than one.
  bool has_older_checkpoint = false;
  // Whether the wall-clock limit is over.
  bool overdue = false;
  // Whether it has waited for its first start longer than it may.
  bool queue_overdue = false;
  // Whether it registers a model when it completes.
  bool registers = false;
  // Ascending by epoch, the newest last; only that one where no attempt can end by the decision.
  std::vector<PastAttempt> attempts;

  // Whether a worker session may still write for this attempt. Everything a worker writes is fenced
  // by this, in the transaction that writes.
  bool HeldBy(int64_t session, int64_t attempt_epoch) const {
    return !IsTerminal(state) && epoch == attempt_epoch && lease_epoch == attempt_epoch &&
           session_id == session;
  }
};

}  // namespace finetuned
