#include "db/edits.h"

#include <nlohmann/json.hpp>

#include "base/status.h"
#include "db/array.h"
#include "db/queries.h"
#include "db/row.h"

namespace finetuned {
namespace {

// A run as it is under its lock.
struct Current {
  RunState state = RunState::kPending;
  Schedule schedule;
};

// Locks a run and reads it. Its owner first, who is locked by whoever lets runs into the queue: a
// lane must not change between the two.
Prelude LockForEdit(int64_t run_id) {
  const std::vector<int64_t> ids = {run_id};
  return Prelude().Then(kLockOwnersOfRuns, ids).Then(kLockRuns, ids).Then(kReadRunForEdit, run_id);
}

absl::StatusOr<Current> ReadForEdit(const pqxx::result& rows, const std::string& etag) {
  if (rows.empty() || rows[0]["deleted"].as<bool>()) {
    return MakeError(absl::StatusCode::kNotFound, "RUN_NOT_FOUND", "there is no such run any more");
  }
  const auto& row = rows[0];
  if (!etag.empty() && etag != EtagOf(row["last_seq"].as<int64_t>(), TimeOf(row["update_time"]))) {
    return MakeError(absl::StatusCode::kAborted, "ETAG_MISMATCH",
                     "the run has changed since its etag was read: read it again");
  }
  Current current;
  current.state = ParseRunState(row["state"].c_str()).value();
  current.schedule.priority = static_cast<Priority>(row["priority"].as<int>());
  current.schedule.max_retries = row["max_retries"].as<int>();
  current.schedule.max_run_seconds = row["max_run_seconds"].as<int64_t>();
  current.schedule.max_queue_seconds = row["max_queue_seconds"].as<int64_t>();
  return current;
}

}  // namespace

absl::Status EditStore::UpdateRun(int64_t run_id, const std::string& etag, const RunEdit& edit) {
  std::optional<std::string> labels;
  if (edit.labels.has_value()) labels = nlohmann::json(*edit.labels).dump();
  const auto body = [&](pqxx::transaction_base& tx, const pqxx::result& rows) {
    FT_ASSIGN_OR_RETURN(const Current current, ReadForEdit(rows, etag));
    FT_ASSIGN_OR_RETURN(const EditDecision decision,
                        DecideEdit(current.state, current.schedule, edit));
    tx.exec_prepared(kUpdateRun.name, run_id, static_cast<int>(decision.schedule.priority),
                     decision.schedule.max_retries, decision.schedule.max_run_seconds, labels,
                     decision.message, static_cast<int>(current.schedule.priority),
                     decision.schedule.max_queue_seconds);
    return absl::OkStatus();
  };
  return pool_.Transact("update_run", LockForEdit(run_id), body);
}

absl::Status EditStore::DeleteRun(int64_t run_id, const std::string& etag) {
  const auto body = [&](pqxx::transaction_base& tx, const pqxx::result& rows) {
    FT_ASSIGN_OR_RETURN(const Current current, ReadForEdit(rows, etag));
    FT_RETURN_IF_ERROR(CheckDelete(current.state));
    tx.exec_prepared(kDeleteRun.name, run_id);
    return absl::OkStatus();
  };
  return pool_.Transact("delete_run", LockForEdit(run_id), body);
}

absl::StatusOr<StoredWorkspace> EditStore::GetWorkspace(int64_t workspace_id) {
  StoredWorkspace workspace;
  FT_RETURN_IF_ERROR(pool_.Read("get_workspace", [&](pqxx::transaction_base& tx) {
    const auto row = tx.exec_prepared1(kGetWorkspace.name, workspace_id);
    workspace = {row["name"].c_str(),
                 row["share_runs"].as<bool>(),
                 TimeOf(row["create_time"]),
                 row["event_seconds"].as<int64_t>(),
                 row["metric_seconds"].as<int64_t>(),
                 row["log_seconds"].as<int64_t>()};
    return absl::OkStatus();
  }));
  return workspace;
}

absl::Status EditStore::UpdateWorkspace(int64_t workspace_id, const WorkspaceEdit& edit) {
  return pool_.Transact("update_workspace", [&](pqxx::transaction_base& tx) {
    tx.exec_prepared(kUpdateWorkspace.name, workspace_id, edit.share_runs, edit.event_seconds,
                     edit.metric_seconds, edit.log_seconds);
    return absl::OkStatus();
  });
}

}  // namespace finetuned
