#include "queue/quarantine.h"

#include <algorithm>
#include <set>

#include "queue/doubling.h"

namespace finetuned {

bool CountsAgainstWorker(Attribution attribution, bool worker_lost) {
  return worker_lost || attribution == Attribution::kInfrastructure;
}

Quarantine DecideQuarantine(const std::vector<WorkerAttempt>& attempts,
                            const QuarantinePolicy& policy) {
  Quarantine quarantine;
  absl::Time last_loss = absl::InfinitePast();
  absl::Time before = absl::InfiniteFuture();
  std::set<int64_t> runs;
  for (const WorkerAttempt& attempt : attempts) {
    if (!attempt.end_time.has_value()) {
      if (attempt.saved) break;
      continue;
    }
    if (!CountsAgainstWorker(attempt.attribution, attempt.worker_lost)) break;
    runs.insert(attempt.run_id);
    last_loss = std::max(last_loss, *attempt.end_time);
    if (*attempt.end_time <= before) {
      ++quarantine.losses;
      before = attempt.create_time;
    }
  }
  if (policy.losses > 0 && quarantine.losses >= policy.losses && runs.size() > 1) {
    quarantine.end_time =
        last_loss + Doubled(policy.first, quarantine.losses - policy.losses, policy.longest);
  }
  return quarantine;
}

}  // namespace finetuned
