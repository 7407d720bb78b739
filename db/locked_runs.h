#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <pqxx/pqxx>
#include <set>

#include "queue/run.h"

// The rows that decisions about runs are made on, locked in the one order that all writers keep:
// owners, runs, leases, each by their ids.

namespace finetuned {

// Locks the owners of runs that may begin or stop being active; returns those that have a holding
// limit. `holding_limit`: of owners that have none of their own.
std::set<int64_t> LockOwners(pqxx::transaction_base& tx, const std::set<int64_t>& run_ids,
                             std::optional<int> holding_limit);

// Locks runs and reads them; for what may end an attempt, their leases and all their attempts too.
// Runs that are not there are left out.
std::map<int64_t, RunSnapshot> LockRuns(pqxx::transaction_base& tx,
                                        const std::set<int64_t>& run_ids,
                                        bool may_end_attempts = false);

}  // namespace finetuned
