#include "db/quarantine.h"

#include <map>
#include <string>
#include <vector>

#include "base/logging.h"
#include "db/array.h"
#include "db/queries.h"
#include "db/row.h"

namespace finetuned {
namespace {

struct WorkerHistory {
  std::string name;
  int loss_count = 0;
  bool in_quarantine = false;
  std::vector<WorkerAttempt> attempts;
};

std::map<int64_t, WorkerHistory> ReadHistories(pqxx::transaction_base& tx,
                                               const std::set<int64_t>& ids) {
  std::map<int64_t, WorkerHistory> histories;
  for (const auto& row : tx.exec_prepared(kWorkerAttempts.name, ArrayOf(ids), kQuarantineHistory)) {
    WorkerHistory& history = histories[row["worker_id"].as<int64_t>()];
    history.name = row["name"].c_str();
    history.loss_count = row["loss_count"].as<int>();
    history.in_quarantine = row["in_quarantine"].as<bool>();
    WorkerAttempt attempt;
    attempt.run_id = row["run_id"].as<int64_t>();
    attempt.create_time = TimeOf(row["create_time"]);
    attempt.end_time = OptionalTimeOf(row["end_time"]);
    attempt.attribution = ParseAttribution(row["attribution"].c_str()).value();
    attempt.worker_lost = row["worker_lost"].as<bool>();
    attempt.saved = row["saved"].as<bool>();
    history.attempts.push_back(attempt);
  }
  return histories;
}

void LogChange(const WorkerHistory& history, const Quarantine& quarantine) {
  if (!quarantine.end_time.has_value()) {
    if (history.in_quarantine) {
      Log(LogLevel::kInfo, "worker out of quarantine", {{"worker", history.name}});
    }
  } else if (quarantine.losses != history.loss_count) {
    Log(LogLevel::kWarning, "worker in quarantine",
        {{"worker", history.name},
         {"losses_in_a_row", quarantine.losses},
         {"until", absl::FormatTime(*quarantine.end_time, absl::UTCTimeZone())}});
  }
}

}  // namespace

absl::Status QuarantineStore::Decide(const std::set<int64_t>& worker_ids, bool quarantined) {
  return pool_.Transact("judge_workers", [&](pqxx::transaction_base& tx) {
    std::set<int64_t> ids;
    for (const auto& row : tx.exec_prepared(kLockWorkers.name, ArrayOf(worker_ids), quarantined)) {
      ids.insert(row[0].as<int64_t>());
    }
    if (ids.empty()) return absl::OkStatus();
    ArrayText id, losses, end_time;
    for (const auto& [worker_id, history] : ReadHistories(tx, ids)) {
      const Quarantine quarantine = DecideQuarantine(history.attempts, policy_);
      LogChange(history, quarantine);
      id.Add(worker_id);
      losses.Add(quarantine.losses);
      quarantine.end_time.has_value()
          ? end_time.Add(absl::FormatTime("%Y-%m-%d %H:%M:%E6S+00", *quarantine.end_time,
                                          absl::UTCTimeZone()))
          : end_time.AddNull();
    }
    tx.exec_prepared(kSetQuarantine.name, id.str(), losses.str(), end_time.str());
    return absl::OkStatus();
  });
}

absl::Status QuarantineStore::Judge(const std::set<int64_t>& worker_ids) {
  return Decide(worker_ids, false);
}

absl::Status QuarantineStore::JudgeQuarantined() { return Decide({}, true); }

}  // namespace finetuned
