#include "db/locked_runs.h"

#include "db/queries.h"
#include "db/row.h"

namespace finetuned {

Prelude LockRuns(const std::set<int64_t>& run_ids, Reach reach, std::optional<int> holding_limit) {
  Prelude prelude;
  if (reach != Reach::kRuns) prelude.Then(kLockOwnersOfRuns, run_ids);
  prelude.Then(kLockRuns, run_ids);
  if (reach == Reach::kAttempts) prelude.Then(kLockLeases, run_ids);
  return prelude.Then(kReadLockedRuns, run_ids, reach == Reach::kAttempts, holding_limit);
}

LockedRuns::LockedRuns(const pqxx::result& rows) {
  for (const auto row : Rows(rows)) {
    if (row["has_holding_limit"].as<bool>()) limited_owners.insert(row["owner_id"].as<int64_t>());
    RunSnapshot& run = runs[row["run_id"].as<int64_t>()];
    run.run_id = row["run_id"].as<int64_t>();
    run.state = ParseRunState(row["state"].c_str()).value();
    run.stop_requested = ParseStopKind(row["stop_requested"].c_str()).value();
    run.epoch = row["epoch"].as<int64_t>();
    run.last_seq = row["last_seq"].as<int64_t>();
    run.max_retries = row["max_retries"].as<int>();
    run.lease_epoch = row["lease_epoch"].as<int64_t>();
    run.session_id = row["session_id"].as<int64_t>();
    run.lease_expired = row["lease_expired"].as<bool>();
    run.acked_report = row["acked_report"].as<int64_t>();
    run.has_checkpoint = row["has_checkpoint"].as<bool>();
    run.has_older_checkpoint = row["has_older_checkpoint"].as<bool>();
    run.overdue = row["overdue"].as<bool>();
    run.queue_overdue = row["queue_overdue"].as<bool>();
    run.registers = row["registers"].as<bool>();
    PastAttempt attempt;
    attempt.epoch = row["attempt_epoch"].as<int64_t>();
    if (attempt.epoch == 0) continue;
    attempt.worker_id = row["worker_id"].as<int64_t>();
    attempt.attribution = ParseAttribution(row["attribution"].c_str()).value();
    attempt.worker_lost = row["worker_lost"].as<bool>();
    attempt.saved = row["saved"].as<bool>();
    attempt.lived = absl::Seconds(row["lived_seconds"].as<double>());
    run.attempts.push_back(attempt);
  }
}

}  // namespace finetuned
