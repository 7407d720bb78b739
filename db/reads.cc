#include "db/reads.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "base/status.h"
#include "base/time.h"
#include "db/array.h"
#include "db/queries.h"
#include "db/row.h"
#include "queue/wait.h"

namespace finetuned {
namespace {

std::map<std::string, std::string> StringMap(const pqxx::field& field) {
  return nlohmann::json::parse(field.c_str()).get<std::map<std::string, std::string>>();
}

Run RunOf(const Rows::Row& row) {
  Run run;
  run.run_id = row["run_id"].as<int64_t>();
  run.workspace = row["workspace"].c_str();
  run.owner_email = row["email"].c_str();
  run.name = row["name"].c_str();
  run.uid = row["uid"].c_str();
  run.state = ParseRunState(row["state"].c_str()).value();
  run.stop_requested = ParseStopKind(row["stop_requested"].c_str()).value();
  run.epoch = row["epoch"].as<int64_t>();
  run.last_seq = row["last_seq"].as<int64_t>();
  run.shape_id = row["shape_id"].as<int>();
  run.priority = static_cast<Priority>(row["priority"].as<int>());
  run.queue_pos = row["queue_pos"].as<int64_t>();
  run.create_time = TimeOf(row["create_time"]);
  run.update_time = TimeOf(row["update_time"]);
  run.start_time = OptionalTimeOf(row["start_time"]);
  run.end_time = OptionalTimeOf(row["end_time"]);
  run.estimated_end_time = OptionalTimeOf(row["estimated_end_time"]);
  run.state_reason = row["state_reason"].c_str();
  run.labels = StringMap(row["labels"]);
  run.links = StringMap(row["links"]);
  run.spec = BytesOf(row["spec"]);
  run.progress = BytesOf(row["progress"]);
  run.failure = BytesOf(row["failure"]);
  run.experiment_path = row["experiment_path"].c_str();
  run.experiment_uid = row["experiment_uid"].c_str();
  run.max_retries = row["max_retries"].as<int>();
  run.max_run_seconds = row["max_run_seconds"].as<int64_t>();
  run.max_queue_seconds = row["max_queue_seconds"].as<int64_t>();
  run.retry_time = OptionalTimeOf(row["retry_time"]);
  run.latest_checkpoint = row["latest_checkpoint"].c_str();
  run.worker = row["worker"].c_str();
  run.registered_version = row["registered_version"].as<int>();
  run.source_run = row["source_run"].c_str();
  return run;
}

}  // namespace

absl::StatusOr<std::vector<int64_t>> Reader::FindRuns(const Viewer& viewer,
                                                      const std::vector<std::string>& names) {
  std::vector<int64_t> ids(names.size(), 0);
  FT_RETURN_IF_ERROR(pool_.Read("find_runs", [&](pqxx::transaction_base& tx) {
    for (const auto& row : tx.exec_prepared(kFindRuns.name, ArrayOf(names), viewer.workspace_id,
                                            viewer.sees_workspace, viewer.owner_id)) {
      ids[row[0].as<size_t>() - 1] = row[1].as<int64_t>();
    }
    return absl::OkStatus();
  }));
  return ids;
}

absl::StatusOr<int64_t> Reader::FindWeightsRun(const Viewer& viewer, const std::string& name) {
  int64_t id = 0;
  FT_RETURN_IF_ERROR(pool_.Read("find_weights_run", [&](pqxx::transaction_base& tx) {
    const auto rows = tx.exec_prepared(kFindWeightsRun.name, viewer.workspace_id, name,
                                       viewer.sees_workspace, viewer.owner_id);
    id = rows.empty() ? 0 : rows[0][0].as<int64_t>();
    return absl::OkStatus();
  }));
  return id;
}

absl::StatusOr<std::optional<Admission>> Reader::FindCreateRequest(
    int64_t owner_id, const std::string& request_id, const std::string& request_hash) {
  std::optional<Admission> found;
  FT_RETURN_IF_ERROR(pool_.Read("find_create_request", [&](pqxx::transaction_base& tx) {
    const auto rows =
        tx.exec_prepared(kFindCreateRequest.name, owner_id, request_id, Bytes(request_hash));
    if (!rows.empty()) {
      found.emplace();
      found->run_id = rows[0]["run_id"].as<int64_t>();
      found->outcome = rows[0]["same"].as<bool>() ? Admission::Outcome::kReplayed
                                                  : Admission::Outcome::kRequestIdReused;
    }
    return absl::OkStatus();
  }));
  return found;
}

absl::StatusOr<std::vector<Run>> Reader::GetRuns(const std::vector<int64_t>& run_ids) {
  std::vector<Run> runs;
  if (run_ids.empty()) return runs;
  FT_RETURN_IF_ERROR(pool_.Read("get_runs", [&](pqxx::transaction_base& tx) {
    for (const auto row : Rows(tx.exec_prepared(kGetRuns.name, ArrayOf(run_ids)))) {
      runs.push_back(RunOf(row));
    }
    return absl::OkStatus();
  }));
  return runs;
}

namespace {

Event EventOf(const Rows::Row& row) {
  Event event;
  event.seq = row["seq"].as<int64_t>();
  event.event_time = TimeOf(row["event_time"]);
  event.epoch = row["epoch"].as<int64_t>();
  event.type = ParseEventType(row["type"].c_str()).value();
  event.message = row["message"].c_str();
  event.detail = BytesOf(row["detail"]);
  return event;
}

}  // namespace

absl::StatusOr<std::vector<Event>> Reader::ListEvents(int64_t run_id, int64_t after_seq,
                                                      int limit) {
  std::vector<Event> events;
  FT_RETURN_IF_ERROR(pool_.Read("list_events", [&](pqxx::transaction_base& tx) {
    for (const auto row : Rows(tx.exec_prepared(kListEvents.name, run_id, after_seq, limit))) {
      events.push_back(EventOf(row));
    }
    return absl::OkStatus();
  }));
  return events;
}

absl::StatusOr<std::map<int64_t, std::vector<Event>>> Reader::ListEventsOf(
    const std::map<int64_t, int64_t>& after_seqs, int limit) {
  std::vector<int64_t> run_ids, seqs;
  for (const auto& [run_id, seq] : after_seqs) {
    run_ids.push_back(run_id);
    seqs.push_back(seq);
  }
  std::map<int64_t, std::vector<Event>> events;
  FT_RETURN_IF_ERROR(pool_.Read("list_events_of", [&](pqxx::transaction_base& tx) {
    for (const auto row :
         Rows(tx.exec_prepared(kListEventsOf.name, ArrayOf(run_ids), ArrayOf(seqs), limit))) {
      events[row["run_id"].as<int64_t>()].push_back(EventOf(row));
    }
    return absl::OkStatus();
  }));
  return events;
}

absl::StatusOr<std::vector<StoredCheckpoint>> Reader::ListCheckpoints(int64_t run_id) {
  std::vector<StoredCheckpoint> checkpoints;
  FT_RETURN_IF_ERROR(pool_.Read("list_checkpoints", [&](pqxx::transaction_base& tx) {
    for (const auto& row : tx.exec_prepared(kListCheckpoints.name, run_id)) {
      checkpoints.push_back(
          {BytesOf(row["detail"]), TimeOf(row["create_time"]), row["epoch"].as<int64_t>()});
    }
    return absl::OkStatus();
  }));
  return checkpoints;
}

absl::StatusOr<MetricFiles> Reader::ReadMetricFiles(int64_t run_id) {
  MetricFiles files;
  FT_RETURN_IF_ERROR(pool_.Read("metric_files", [&](pqxx::transaction_base& tx) {
    const pqxx::result rows = tx.exec_prepared(kMetricFiles.name, run_id);
    if (rows.empty()) return absl::NotFoundError("there is no such run");
    files = MetricFiles();
    files.ended = IsTerminal(ParseRunState(rows[0]["state"].c_str()).value());
    for (const auto& row : rows) {
      const auto epoch = row["epoch"].as<int64_t>();
      if (epoch > 0) files.files.push_back({epoch, row["metric_bytes"].as<int64_t>()});
    }
    std::reverse(files.files.begin(), files.files.end());
    return absl::OkStatus();
  }));
  return files;
}

absl::StatusOr<std::vector<StoredAttempt>> Reader::ListAttempts(int64_t run_id) {
  std::vector<StoredAttempt> attempts;
  FT_RETURN_IF_ERROR(pool_.Read("list_attempts", [&](pqxx::transaction_base& tx) {
    for (const auto& row : tx.exec_prepared(kListAttempts.name, run_id)) {
      StoredAttempt attempt;
      attempt.epoch = row["epoch"].as<int64_t>();
      attempt.worker = row["worker"].c_str();
      attempt.create_time = TimeOf(row["create_time"]);
      attempt.start_time = OptionalTimeOf(row["start_time"]);
      attempt.end_time = OptionalTimeOf(row["end_time"]);
      attempt.end_reason = row["end_reason"].c_str();
      attempt.attribution = ParseAttribution(row["attribution"].c_str()).value();
      attempt.held = absl::Seconds(row["held_seconds"].as<double>());
      attempt.shape = Shape{row["gpus"].as<int>(), TextOf(row["gpu_type"]), row["cpus"].as<int>(),
                            row["memory_bytes"].as<int64_t>()};
      attempt.checkpoint = row["checkpoint"].c_str();
      attempts.push_back(std::move(attempt));
    }
    return absl::OkStatus();
  }));
  return attempts;
}

absl::StatusOr<std::map<int64_t, RunMark>> Reader::Watch(const std::vector<int64_t>& run_ids) {
  std::map<int64_t, RunMark> marks;
  FT_RETURN_IF_ERROR(pool_.Read("watch_runs", [&](pqxx::transaction_base& tx) {
    for (const auto row : Rows(tx.exec_prepared(kWatchRuns.name, ArrayOf(run_ids)))) {
      marks[row["run_id"].as<int64_t>()] = {
          row["last_seq"].as<int64_t>(), ParseRunState(row["state"].c_str()).value(),
          ParseStopKind(row["stop_requested"].c_str()).value(), row["epoch"].as<int64_t>()};
    }
    return absl::OkStatus();
  }));
  return marks;
}

absl::StatusOr<std::optional<int64_t>> Reader::QueuePlace(const Run& run) {
  std::optional<int64_t> place;
  FT_RETURN_IF_ERROR(pool_.Read("queue_place", [&](pqxx::transaction_base& tx) {
    const auto row =
        tx.exec_prepared1(kQueuePlace.name, run.shape_id, static_cast<int>(run.priority),
                          run.queue_pos, kMaxQueuePlace);
    if (!row[0].is_null()) place = row[0].as<int64_t>();
    return absl::OkStatus();
  }));
  return place;
}

absl::StatusOr<std::vector<StoredWorker>> Reader::ListWorkers(
    const std::vector<std::string>& names) {
  std::vector<StoredWorker> workers;
  FT_RETURN_IF_ERROR(pool_.Read("list_workers", [&](pqxx::transaction_base& tx) {
    for (const auto& row : tx.exec_prepared(kListWorkers.name, ArrayOf(names))) {
      StoredWorker worker;
      worker.name = row["name"].c_str();
      worker.has_session = row["has_session"].as<bool>();
      worker.draining = row["draining"].as<bool>();
      worker.seen_ago = absl::Seconds(row["seen_seconds_ago"].as<double>());
      worker.last_seen_time = TimeOf(row["last_seen_time"]);
      worker.loss_count = row["loss_count"].as<int>();
      worker.quarantine_end_time = OptionalTimeOf(row["quarantine_end_time"]);
      worker.version = row["version"].c_str();
      worker.capacity = {row["gpus"].as<int>(), row["gpu_type"].c_str(), row["cpus"].as<int>(),
                         row["memory_bytes"].as<int64_t>()};
      worker.used = {row["used_gpus"].as<int>(), "", row["used_cpus"].as<int>(),
                     row["used_memory_bytes"].as<int64_t>()};
      worker.labels = StringMap(row["labels"]);
      worker.attempt_count = row["attempt_count"].as<int>();
      workers.push_back(std::move(worker));
    }
    return absl::OkStatus();
  }));
  return workers;
}

absl::StatusOr<std::vector<StoredWorkerAttempt>> Reader::AttemptsOfWorker(const std::string& name) {
  std::vector<StoredWorkerAttempt> attempts;
  FT_RETURN_IF_ERROR(pool_.Read("attempts_of_worker", [&](pqxx::transaction_base& tx) {
    attempts.clear();
    for (const auto& row : tx.exec_prepared(kAttemptsOfWorker.name, name)) {
      StoredWorkerAttempt attempt;
      attempt.run_id = row["run_id"].as<int64_t>();
      attempt.epoch = row["epoch"].as<int64_t>();
      attempt.run = row["name"].c_str();
      attempt.workspace = row["workspace"].c_str();
      attempt.workspace_id = row["workspace_id"].as<int64_t>();
      attempt.owner_id = row["owner_id"].as<int64_t>();
      attempt.state = ParseRunState(row["state"].c_str()).value();
      attempt.create_time = TimeOf(row["create_time"]);
      attempt.shape = {row["gpus"].as<int>(), row["gpu_type"].c_str(), row["cpus"].as<int>(),
                       row["memory_bytes"].as<int64_t>()};
      attempts.push_back(std::move(attempt));
    }
    return absl::OkStatus();
  }));
  return attempts;
}

absl::StatusOr<std::pair<int, int>> Reader::GetQuota(int64_t owner_id, int default_limit) {
  std::pair<int, int> quota{0, default_limit};
  FT_RETURN_IF_ERROR(pool_.Read("get_quota", [&](pqxx::transaction_base& tx) {
    const auto rows = tx.exec_prepared(kGetQuota.name, owner_id, default_limit);
    if (!rows.empty()) quota = {rows[0]["active"].as<int>(), rows[0]["active_limit"].as<int>()};
    return absl::OkStatus();
  }));
  return quota;
}

absl::StatusOr<std::vector<std::string>> Reader::ActiveRuns(int64_t owner_id) {
  std::vector<std::string> names;
  FT_RETURN_IF_ERROR(pool_.Read("active_runs", [&](pqxx::transaction_base& tx) {
    for (const auto& row : tx.exec_prepared(kActiveRuns.name, owner_id)) {
      names.push_back(row[0].c_str());
    }
    return absl::OkStatus();
  }));
  return names;
}

absl::StatusOr<bool> Reader::IsNameTaken(int64_t workspace_id, const std::string& name) {
  bool taken = false;
  FT_RETURN_IF_ERROR(pool_.Read("taken_name", [&](pqxx::transaction_base& tx) {
    taken = !tx.exec_prepared(kTakenName.name, workspace_id, name).empty();
    return absl::OkStatus();
  }));
  return taken;
}

absl::StatusOr<std::map<RunState, int64_t>> Reader::CountActiveRuns() {
  std::map<RunState, int64_t> counts;
  FT_RETURN_IF_ERROR(pool_.Read("count_runs_by_state", [&](pqxx::transaction_base& tx) {
    for (const auto& row : tx.exec_prepared(kCountRunsByState.name)) {
      counts[ParseRunState(row[0].c_str()).value()] = row[1].as<int64_t>();
    }
    return absl::OkStatus();
  }));
  return counts;
}

absl::StatusOr<int64_t> Reader::CountQuarantined() {
  int64_t count = 0;
  FT_RETURN_IF_ERROR(pool_.Read("count_quarantined", [&](pqxx::transaction_base& tx) {
    count = tx.exec_prepared1(kCountQuarantined.name)[0].as<int64_t>();
    return absl::OkStatus();
  }));
  return count;
}

absl::Status Reader::CheckWritable() {
  return pool_.Transact("check_writable", [&](pqxx::transaction_base& tx) {
    tx.exec_prepared(kCheckWritable.name);
    return absl::OkStatus();
  });
}

}  // namespace finetuned
