#include "queue/run_edit.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status.h"

namespace finetuned {
namespace {

const char* PriorityName(Priority priority) {
  switch (priority) {
    case Priority::kHigh: return "HIGH";
    case Priority::kAuto: return "AUTO";
    case Priority::kLow: return "LOW";
    case Priority::kLowest: return "LOWEST";
  }
  return "?";
}

std::string LimitText(const char* name, int64_t seconds) {
  if (seconds == 0) return absl::StrCat("no ", name);
  return absl::StrCat(name, " ", absl::FormatDuration(absl::Seconds(seconds)));
}

std::string Changes(const Schedule& before, const Schedule& after) {
  std::vector<std::string> changes;
  if (before.priority != after.priority) {
    changes.push_back(absl::StrCat("priority ", PriorityName(after.priority)));
  }
  if (before.max_retries != after.max_retries) {
    changes.push_back(absl::StrCat("max_retries ", after.max_retries));
  }
  if (before.max_run_seconds != after.max_run_seconds) {
    changes.push_back(LimitText("max_run_time", after.max_run_seconds));
  }
  if (before.max_queue_seconds != after.max_queue_seconds) {
    changes.push_back(LimitText("max_queue_time", after.max_queue_seconds));
  }
  return absl::StrJoin(changes, ", ");
}

}  // namespace

absl::StatusOr<EditDecision> DecideEdit(RunState state, const Schedule& current,
                                        const RunEdit& edit) {
  EditDecision decision;
  decision.schedule.priority = edit.priority.value_or(current.priority);
  decision.schedule.max_retries = edit.max_retries.value_or(current.max_retries);
  decision.schedule.max_run_seconds = edit.max_run_seconds.value_or(current.max_run_seconds);
  decision.schedule.max_queue_seconds = edit.max_queue_seconds.value_or(current.max_queue_seconds);
  if (decision.schedule == current) return decision;
  if (IsTerminal(state)) {
    return MakeError(absl::StatusCode::kFailedPrecondition, "RUN_TERMINAL",
                     absl::StrCat("the run is ", Name(state),
                                  ": only its labels can be changed; create a new run instead"),
                     {{"state", Name(state)}});
  }
  decision.message = absl::StrCat("Run updated: ", Changes(current, decision.schedule), ".");
  return decision;
}

absl::Status CheckDelete(RunState state) {
  if (IsTerminal(state)) return absl::OkStatus();
  return MakeError(absl::StatusCode::kFailedPrecondition, "RUN_NOT_TERMINAL",
                   absl::StrCat("the run is ", Name(state), ": cancel it first"),
                   {{"state", Name(state)}});
}

}  // namespace finetuned
