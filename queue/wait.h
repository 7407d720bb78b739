#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "queue/placement.h"

// Why a run is waiting: a pure decision over what it needs and what the workers have.

namespace finetuned {

// The values are those of finetuned.v1.Wait.Reason.
enum class WaitReason {
  kNoWorker = 1,
  kNoSuchCapacity = 2,
  kWorkersBusy = 3,
  kAboutToStart = 4,
  kHoldingLimit = 5,
  kRetryDelay = 6,
  kWorkersInQuarantine = 7,
};

// A worker that takes runs.
struct WorkerRoom {
  Shape capacity;
  Shape free;
  bool in_quarantine = false;
};

struct WaitExplanation {
  WaitReason reason = WaitReason::kNoWorker;
  // The most that one worker has free; nothing without workers.
  std::optional<Shape> free;
  // One sentence for a person.
  std::string sentence;
};

// Places in the queue are counted up to here; one behind them is kMaxQueuePlace + 1.
inline constexpr int kMaxQueuePlace = 1000;

// `position`: place among the waiting runs of the same needs, from 1; nothing for a run that waits
// outside the queue, for its next attempt to be due in `retry_in` or else for its owner's holding
// limit.
WaitExplanation ExplainWait(const Shape& needed, std::optional<int64_t> position,
                            std::optional<absl::Duration> retry_in,
                            const std::vector<WorkerRoom>& workers);

}  // namespace finetuned
