#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/time/time.h"
#include "queue/run.h"

// Whether a worker that loses one attempt after the other gets any more: a pure decision over what
// it did last. It is a breaker that closes by itself: after a time a worker in quarantine may try
// one attempt, and one that gets on, or ends in any way that is not a loss, shows that it is well
// again.

namespace finetuned {

// An attempt that a worker got, as this decision sees it.
struct WorkerAttempt {
  int64_t run_id = 0;
  absl::Time create_time;
  // Absent while it has not ended.
  std::optional<absl::Time> end_time;
  // Of its end; as PastAttempt.
  Attribution attribution = Attribution::kUnknown;
  bool worker_lost = false;
  bool saved = false;
};

// Whether an attempt that ended so speaks against its worker. The network is everybody's, and a
// trainer that hangs may do so anywhere.
bool CountsAgainstWorker(Attribution attribution, bool worker_lost);

struct QuarantinePolicy {
  // Losses in a row before a worker is put into quarantine; 0: never.
  int losses = 3;
  // From the last loss on, doubling with each further one up to the longest.
  absl::Duration first = absl::Minutes(2);
  absl::Duration longest = absl::Minutes(30);
};

// How many of a worker's attempts are looked at: a few times what a large one holds at once.
inline constexpr int kQuarantineHistory = 256;

// The most that QuarantinePolicy::losses may be.
inline constexpr int kMaxQuarantineLosses = 32;

struct Quarantine {
  int losses = 0;
  // Until then the worker gets nothing, then one attempt at a time. Absent where it is not to be
  // in quarantine.
  std::optional<absl::Time> end_time;
};

// `attempts`: the worker's, newest first, since somebody said that it is well. Losses that fell
// into one another, as when it was cut off with several attempts, count once. Losses of one run
// alone are no evidence: the run has bounds of its own.
Quarantine DecideQuarantine(const std::vector<WorkerAttempt>& attempts,
                            const QuarantinePolicy& policy);

}  // namespace finetuned
