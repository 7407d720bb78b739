#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <pqxx/pqxx>
#include <set>

#include "db/prelude.h"
#include "queue/run.h"

// The rows that decisions about runs are made on, locked in the one order that all writers keep:
// owners, runs, leases, each by their ids.

namespace finetuned {

// What a decision may change beside the runs.
enum class Reach {
  // Nothing.
  kRuns,
  // The owners' counters, as runs may begin or stop being active.
  kOwners,
  // Those, and attempts: their leases are locked, and all that were are read.
  kAttempts,
};

// The beginning of a transaction that decides about runs: locks them and what is in reach, and
// reads them then.
Prelude LockRuns(const std::set<int64_t>& run_ids, Reach reach,
                 std::optional<int> holding_limit = std::nullopt);

struct LockedRuns {
  // What the beginning gave; `holding_limit` was that of owners that have none of their own.
  explicit LockedRuns(const pqxx::result& rows);

  // The only run that was asked for; null where there is none.
  const RunSnapshot* only() const { return runs.empty() ? nullptr : &runs.begin()->second; }

  // Those that are not there are left out.
  std::map<int64_t, RunSnapshot> runs;
  // Owners of theirs with a holding limit.
  std::set<int64_t> limited_owners;
};

}  // namespace finetuned
