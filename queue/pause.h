#pragma once

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "queue/run.h"

// What a user's wish to pause a run, or to resume it, comes to. Pure decisions; db/transitions.h
// and db/admission.h carry them out.

namespace finetuned {

// Runs of one owner that are paused or being paused; they count in no other quota.
inline constexpr int kMaxPausedRuns = 100;

enum class PauseEffect {
  // It is paused, or being paused, already.
  kNone,
  // It waits, and is paused at once.
  kPaused,
  // A worker has it, and is told.
  kStopping,
};

// `paused_count`: the owner's runs that are paused or being paused. FAILED_PRECONDITION
// `RUN_TERMINAL`, `RUN_STOPPING`; RESOURCE_EXHAUSTED `PAUSED_RUNS_QUOTA`.
absl::StatusOr<PauseEffect> DecidePause(const RunSnapshot& run, int paused_count);

// FAILED_PRECONDITION `RUN_TERMINAL`, `RUN_NOT_PAUSED`.
absl::Status CheckResume(const RunSnapshot& run);

}  // namespace finetuned
