#pragma once

#include <cstdint>
#include <set>

#include "absl/status/status.h"
#include "db/pool.h"
#include "queue/quarantine.h"

// Which workers are in quarantine (queue/quarantine.h). Each method is a transaction of its own
// that locks workers and nothing else: others lock workers before leases.

namespace finetuned {

class QuarantineStore {
 public:
  QuarantineStore(Pool* pool, QuarantinePolicy policy) : pool_(*pool), policy_(policy) {}

  // Decides anew for these workers, which have just lost attempts.
  absl::Status Judge(const std::set<int64_t>& worker_ids);

  // Decides anew for all workers in quarantine: their trials may have shown that they are well.
  absl::Status JudgeQuarantined();

 private:
  absl::Status Decide(const std::set<int64_t>& worker_ids, bool quarantined);

  Pool& pool_;
  const QuarantinePolicy policy_;
};

}  // namespace finetuned
