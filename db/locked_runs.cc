#include "db/locked_runs.h"

#include "db/array.h"
#include "db/queries.h"
#include "db/row.h"

namespace finetuned {

std::set<int64_t> LockOwners(pqxx::transaction_base& tx, const std::set<int64_t>& ids,
                             std::optional<int> holding_limit) {
  std::set<int64_t> limited;
  for (const auto& row : tx.exec_prepared(kLockOwnersOfRuns.name, ArrayOf(ids), holding_limit)) {
    if (row["has_holding_limit"].as<bool>()) limited.insert(row["owner_id"].as<int64_t>());
  }
  return limited;
}

std::map<int64_t, RunSnapshot> LockRuns(pqxx::transaction_base& tx, const std::set<int64_t>& ids,
                                        bool with_leases) {
  const std::string array = ArrayOf(ids);
  tx.exec_prepared(kLockRuns.name, array);
  if (with_leases) tx.exec_prepared(kLockLeases.name, array);
  std::map<int64_t, RunSnapshot> runs;
  for (const auto& row : tx.exec_prepared(kReadLockedRuns.name, array)) {
    RunSnapshot run;
    run.run_id = row["run_id"].as<int64_t>();
    run.state = ParseRunState(row["state"].c_str()).value();
    run.stop_requested = ParseStopKind(row["stop_requested"].c_str()).value();
    run.epoch = row["epoch"].as<int64_t>();
    run.last_seq = row["last_seq"].as<int64_t>();
    run.trainer_failures = row["trainer_failures"].as<int>();
    run.infra_losses = row["infra_losses"].as<int>();
    run.max_retries = row["max_retries"].as<int>();
    run.lease_epoch = row["lease_epoch"].as<int64_t>();
    run.session_id = row["session_id"].as<int64_t>();
    run.lease_expired = row["lease_expired"].as<bool>();
    run.acked_report = row["acked_report"].as<int64_t>();
    run.has_checkpoint = row["has_checkpoint"].as<bool>();
    run.has_older_checkpoint = row["has_older_checkpoint"].as<bool>();
    run.overdue = row["overdue"].as<bool>();
    run.registers = row["registers"].as<bool>();
    runs[run.run_id] = run;
  }
  return runs;
}

}  // namespace finetuned
