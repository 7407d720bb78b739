#include "queue/pause.h"

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace finetuned {
namespace {

absl::Status Refuse(const RunSnapshot& run, const char* reason, const std::string& why) {
  return MakeError(absl::StatusCode::kFailedPrecondition, reason,
                   absl::StrCat("the run is ", Name(run.state), ": ", why),
                   {{"state", Name(run.state)}});
}

}  // namespace

absl::StatusOr<PauseEffect> DecidePause(const RunSnapshot& run, int paused_count) {
  if (IsTerminal(run.state)) {
    return Refuse(run, "RUN_TERMINAL", "it has ended and can be neither paused nor resumed");
  }
  if (run.state == RunState::kPaused || run.stop_requested == StopKind::kPause) {
    return PauseEffect::kNone;
  }
  if (run.stop_requested == StopKind::kCancel || run.stop_requested == StopKind::kDeadline) {
    return Refuse(run, "RUN_STOPPING",
                  run.stop_requested == StopKind::kCancel
                      ? "it is being canceled"
                      : "it reached its scheduling.max_run_time and is being stopped");
  }
  if (paused_count >= kMaxPausedRuns) {
    return MakeError(absl::StatusCode::kResourceExhausted, "PAUSED_RUNS_QUOTA",
                     absl::StrCat("you have ", paused_count, " paused runs and may have ",
                                  kMaxPausedRuns, ": resume or cancel one"),
                     {{"quota", "paused_runs"},
                      {"limit", absl::StrCat(kMaxPausedRuns)},
                      {"usage", absl::StrCat(paused_count)}});
  }
  return IsHeld(run.state) ? PauseEffect::kStopping : PauseEffect::kPaused;
}

absl::Status CheckResume(const RunSnapshot& run) {
  if (run.state == RunState::kPaused) return absl::OkStatus();
  if (IsTerminal(run.state)) {
    return Refuse(run, "RUN_TERMINAL",
                  "it has ended; start a new one from its checkpoint with custom_weights_path");
  }
  return Refuse(run, "RUN_NOT_PAUSED",
                run.stop_requested == StopKind::kPause
                    ? "it is still being paused; resume it when it is PAUSED"
                    : "only a paused run can be resumed");
}

}  // namespace finetuned
