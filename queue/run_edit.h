#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "queue/run.h"

// What a user may change about a run, and when. Pure decisions; db/edits.h carries them out.

namespace finetuned {

// How a run is scheduled.
struct Schedule {
  Priority priority = Priority::kAuto;
  int max_retries = 0;
  // Wall-clock limit over all attempts; 0 for none.
  int64_t max_run_seconds = 0;
  // How long it may wait to start for the first time; 0 for no limit.
  int64_t max_queue_seconds = 0;

  bool operator==(const Schedule& other) const {
    return priority == other.priority && max_retries == other.max_retries &&
           max_run_seconds == other.max_run_seconds && max_queue_seconds == other.max_queue_seconds;
  }
};

// A change; what is absent stays.
struct RunEdit {
  std::optional<std::map<std::string, std::string>> labels;
  std::optional<Priority> priority;
  std::optional<int> max_retries;
  std::optional<int64_t> max_run_seconds;
  std::optional<int64_t> max_queue_seconds;
};

struct EditDecision {
  Schedule schedule;
  // That of the event UPDATED; empty when the schedule stays as it is, and there is no event.
  std::string message;
};

// Labels may change at any time; the schedule until the run is terminal: FAILED_PRECONDITION
// `RUN_TERMINAL` after that.
absl::StatusOr<EditDecision> DecideEdit(RunState state, const Schedule& current,
                                        const RunEdit& edit);

// FAILED_PRECONDITION `RUN_NOT_TERMINAL` while something may still become of the run.
absl::Status CheckDelete(RunState state);

}  // namespace finetuned
