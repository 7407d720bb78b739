#include "db/retention.h"

#include <pqxx/pqxx>

#include "base/time.h"
#include "db/queries.h"
#include "db/row.h"

namespace finetuned {

absl::StatusOr<bool> RetentionStore::RetireEventPartition() {
  bool retired = false;
  const absl::Status status = pool_.Read("retire_event_partition", [&](pqxx::transaction_base& tx) {
    retired = tx.exec_prepared1(kRetireEventPartition.name)[0].as<bool>();
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  return retired;
}

absl::StatusOr<std::vector<RunPastRetention>> RetentionStore::FindRuns(RetainedFiles files,
                                                                       int limit) {
  std::vector<RunPastRetention> runs;
  const absl::Status status = pool_.Read("runs_past_retention", [&](pqxx::transaction_base& tx) {
    runs.clear();
    for (const auto& row :
         tx.exec_prepared(kRunsPastRetention.name, files == RetainedFiles::kMetrics, limit)) {
      runs.push_back({row["workspace_id"].as<int64_t>(), row["workspace"].c_str(),
                      row["run"].c_str(), TimeOf(row["end_time"])});
    }
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  return runs;
}

absl::Status RetentionStore::MarkSwept(RetainedFiles files, int64_t workspace_id,
                                       absl::Time end_time) {
  const char* query =
      files == RetainedFiles::kMetrics ? kMarkMetricsSwept.name : kMarkLogsSwept.name;
  return pool_.Read(query, [&](pqxx::transaction_base& tx) {
    tx.exec_prepared(query, workspace_id, FormatRfc3339(end_time));
    return absl::OkStatus();
  });
}

absl::StatusOr<absl::Duration> RetentionStore::Overdue(RetainedFiles files) {
  absl::Duration overdue;
  const absl::Status status = pool_.Read("retention_overdue", [&](pqxx::transaction_base& tx) {
    const auto row = tx.exec_prepared1(kRetentionOverdue.name, files == RetainedFiles::kMetrics);
    overdue = absl::Seconds(row[0].as<double>());
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  return overdue;
}

absl::StatusOr<bool> RetentionStore::IsPast(RetainedFiles files, int64_t run_id) {
  bool past = false;
  const absl::Status status = pool_.Read("past_retention", [&](pqxx::transaction_base& tx) {
    const auto rows =
        tx.exec_prepared(kPastRetention.name, run_id, files == RetainedFiles::kMetrics);
    past = !rows.empty() && rows[0][0].as<bool>();
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  return past;
}

}  // namespace finetuned
