#include "db/admission.h"

#include <map>
#include <numeric>
#include <set>

#include "base/status.h"
#include "db/array.h"
#include "db/error.h"
#include "db/locked_runs.h"
#include "db/queries.h"
#include "db/row.h"
#include "queue/event.h"
#include "queue/pause.h"

namespace finetuned {
namespace {

// A COMMIT in doubt is tried again this often before the caller is told to try later.
constexpr int kMaxInDoubtTries = 3;

// The items of a batch that one statement can take: no two with the same request_id or the same
// name, because a statement does not see what it inserts itself. The others come in the next
// statement.
std::vector<size_t> TakeDistinct(const NewRuns& runs, std::vector<size_t>* pending) {
  std::set<std::pair<int64_t, std::string>> requests, names;
  std::vector<size_t> taken, left;
  for (const size_t i : *pending) {
    const bool first = requests.emplace(runs[i]->owner_id, runs[i]->request_id).second;
    if (first && names.emplace(runs[i]->workspace_id, runs[i]->name).second) {
      taken.push_back(i);
    } else {
      left.push_back(i);
    }
  }
  *pending = std::move(left);
  return taken;
}

pqxx::result AdmitDistinct(pqxx::transaction_base& tx, const NewRuns& runs,
                           const std::vector<size_t>& taken, const QuotaLimits& limits) {
  ArrayText workspace, owner, gpus, priority, name, uid, request, hash, spec, model, experiment,
      labels, retries, seconds, kept, message, gpu_type, cpus, memory, register_to, source, wait;
  for (const size_t i : taken) {
    const NewRun& run = *runs[i];
    workspace.Add(run.workspace_id);
    owner.Add(run.owner_id);
    gpus.Add(run.shape.gpus);
    gpu_type.Add(run.shape.gpu_type);
    cpus.Add(run.shape.cpus);
    memory.Add(run.shape.memory_bytes);
    priority.Add(static_cast<int>(run.priority));
    name.Add(run.name);
    uid.Add(run.uid);
    request.Add(run.request_id);
    hash.AddBytes(run.request_hash);
    spec.AddBytes(run.spec);
    model.Add(run.model);
    experiment.Add(run.experiment_path);
    labels.Add(run.labels_json);
    register_to.Add(run.register_to);
    source.Add(run.source_run_id);
    retries.Add(run.max_retries);
    seconds.Add(run.max_run_seconds);
    wait.Add(run.max_queue_seconds);
    kept.Add(run.checkpoints_kept);
    message.Add(CreatedMessage());
  }
  return tx.exec_prepared(kAdmitRuns.name, workspace.str(), owner.str(), gpus.str(), priority.str(),
                          name.str(), uid.str(), request.str(), hash.str(), spec.str(), model.str(),
                          experiment.str(), labels.str(), retries.str(), seconds.str(), kept.str(),
                          message.str(), limits.active, limits.holding, gpu_type.str(), cpus.str(),
                          memory.str(), register_to.str(), source.str(), wait.str());
}

// Names of the runs that hold the quota of these owners.
std::map<int64_t, std::shared_ptr<std::vector<std::string>>> HoldersOf(
    pqxx::transaction_base& tx, const std::set<int64_t>& owners) {
  std::map<int64_t, std::shared_ptr<std::vector<std::string>>> holders;
  for (const int64_t owner : owners) holders[owner] = std::make_shared<std::vector<std::string>>();
  for (const auto row :
       Rows(tx.exec_prepared(kQuotaHolders.name, ArrayOf(owners), kShownHolders + 1))) {
    holders[row["owner_id"].as<int64_t>()]->emplace_back(row["name"].c_str());
  }
  return holders;
}

// Whoever is refused is told what holds the quota, read once for an owner.
void NameHolders(pqxx::transaction_base& tx, const NewRuns& runs,
                 std::vector<absl::StatusOr<Admission>>* results) {
  std::set<int64_t> refused;
  const auto is_refused = [&](size_t i) {
    return (*results)[i].ok() && (*results)[i]->outcome == Admission::Outcome::kQuotaReached;
  };
  for (size_t i = 0; i < runs.size(); ++i) {
    if (is_refused(i)) refused.insert(runs[i]->owner_id);
  }
  if (refused.empty()) return;
  const auto holders = HoldersOf(tx, refused);
  for (size_t i = 0; i < runs.size(); ++i) {
    if (is_refused(i)) (*results)[i]->holders = holders.at(runs[i]->owner_id);
  }
}

}  // namespace

absl::Status AdmissionStore::AdmitInTransaction(pqxx::transaction_base& tx,
                                                const pqxx::result& owners, const NewRuns& runs,
                                                std::vector<absl::StatusOr<Admission>>* results) {
  std::vector<size_t> pending(runs.size());
  std::iota(pending.begin(), pending.end(), size_t{0});
  std::set<int64_t> limited;
  for (const auto& row : owners) {
    if (row["has_holding_limit"].as<bool>()) limited.insert(row["owner_id"].as<int64_t>());
  }
  while (!pending.empty()) {
    const std::vector<size_t> taken = TakeDistinct(runs, &pending);
    std::set<int64_t> raced_owners;
    std::vector<size_t> refused;
    for (const auto row : Rows(AdmitDistinct(tx, runs, taken, limits_))) {
      const size_t item = taken[row["ordinal"].as<size_t>() - 1];
      const std::string outcome = row["outcome"].c_str();
      Admission admission;
      admission.run_id = row["run_id"].is_null() ? 0 : row["run_id"].as<int64_t>();
      admission.active = row["active"].as<int>();
      admission.active_limit = row["active_limit"].as<int>();
      if (outcome == "ADMITTED") {
        admission.outcome = Admission::Outcome::kAdmitted;
        admission.create_time = TimeOf(row["create_time"]);
        admission.experiment_uid = row["experiment_uid"].c_str();
      } else if (outcome == "REPLAYED") {
        admission.outcome = Admission::Outcome::kReplayed;
      } else if (outcome == "REQUEST_ID_REUSED") {
        admission.outcome = Admission::Outcome::kRequestIdReused;
      } else if (outcome == "NAME_TAKEN") {
        admission.outcome = Admission::Outcome::kNameTaken;
      } else if (outcome == "MODEL_TAKEN") {
        admission.outcome = Admission::Outcome::kModelTaken;
      } else if (outcome == "QUOTA_REACHED") {
        admission.outcome = Admission::Outcome::kQuotaReached;
        refused.push_back(item);
      } else {  // NAME_RACE: the next statement sees who won.
        raced_owners.insert(runs[item]->owner_id);
        pending.push_back(item);
        continue;
      }
      (*results)[item] = admission;
    }
    // A slot was counted for the loser of a race, so who was refused beside it is asked again.
    for (const size_t item : refused) {
      if (raced_owners.count(runs[item]->owner_id) != 0) pending.push_back(item);
    }
  }
  if (!limited.empty()) tx.exec_prepared(kReleaseRuns.name, ArrayOf(limited), limits_.holding);
  NameHolders(tx, runs, results);
  return absl::OkStatus();
}

absl::StatusOr<int> AdmissionStore::ReleaseRunsOf(const Query& owners_query) {
  int released = 0;
  FT_RETURN_IF_ERROR(pool_.Transact(owners_query.name, [&](pqxx::transaction_base& tx) {
    std::set<int64_t> owners;
    for (const auto& row : tx.exec_prepared(owners_query.name, limits_.holding)) {
      owners.insert(row[0].as<int64_t>());
    }
    released = 0;
    if (owners.empty()) return absl::OkStatus();
    const auto rows = tx.exec_prepared(kReleaseRuns.name, ArrayOf(owners), limits_.holding);
    released = static_cast<int>(rows.affected_rows());
    return absl::OkStatus();
  }));
  return released;
}

absl::StatusOr<int> AdmissionStore::ReleaseRuns() { return ReleaseRunsOf(kOwnersToRelease); }
absl::StatusOr<int> AdmissionStore::ReleaseStrandedRuns() { return ReleaseRunsOf(kStrandedOwners); }

absl::StatusOr<std::vector<absl::StatusOr<Admission>>> AdmissionStore::Admit(const NewRuns& runs) {
  std::set<int64_t> owners;
  for (const auto& run : runs) owners.insert(run->owner_id);
  const Prelude locks = Prelude().Then(kLockOwners, owners, limits_.holding);
  absl::Status status;
  for (int i = 0; i < kMaxInDoubtTries; ++i) {
    std::vector<absl::StatusOr<Admission>> results;
    status =
        pool_.Transact("admit", locks, [&](pqxx::transaction_base& tx, const pqxx::result& locked) {
          results.assign(runs.size(), absl::InternalError("no outcome"));
          return AdmitInTransaction(tx, locked, runs, &results);
        });
    if (status.ok()) return results;
    if (!IsInDoubt(status)) break;
  }
  return status;
}

absl::StatusOr<std::vector<absl::StatusOr<std::optional<Admission>>>> AdmissionStore::FindRefused(
    const NewRuns& runs) {
  std::vector<absl::StatusOr<std::optional<Admission>>> results;
  FT_RETURN_IF_ERROR(pool_.Read("find_refused", [&](pqxx::transaction_base& tx) {
    results.assign(runs.size(), std::nullopt);
    ArrayText workspace, owner, request, name, register_to;
    for (const auto& run : runs) {
      workspace.Add(run->workspace_id);
      owner.Add(run->owner_id);
      request.Add(run->request_id);
      name.Add(run->name);
      register_to.Add(run->register_to);
    }
    const Rows rows(tx.exec_prepared(kFindRefused.name, workspace.str(), owner.str(), request.str(),
                                     name.str(), register_to.str(), limits_.active));
    std::set<int64_t> owners;
    for (const auto row : rows) owners.insert(row["owner_id"].as<int64_t>());
    if (owners.empty()) return absl::OkStatus();
    const auto holders = HoldersOf(tx, owners);
    for (const auto row : rows) {
      Admission refused;
      refused.outcome = Admission::Outcome::kQuotaReached;
      refused.active = row["active"].as<int>();
      refused.active_limit = row["active_limit"].as<int>();
      refused.holders = holders.at(row["owner_id"].as<int64_t>());
      results[row["ordinal"].as<size_t>() - 1] = refused;
    }
    return absl::OkStatus();
  }));
  return results;
}

absl::StatusOr<Admission> AdmissionStore::Resume(int64_t run_id) {
  Admission admission;
  const auto body = [&](pqxx::transaction_base& tx, const pqxx::result& rows) {
    const LockedRuns locked(rows);
    if (locked.only() == nullptr) {
      return MakeError(absl::StatusCode::kNotFound, "RUN_NOT_FOUND", "no such run");
    }
    FT_RETURN_IF_ERROR(CheckResume(*locked.only()));
    const auto row = tx.exec_prepared1(kResumeRun.name, run_id, limits_.active, limits_.holding,
                                       ResumeRequestedMessage(locked.only()->has_checkpoint));
    admission.run_id = run_id;
    admission.owner_id = row["owner_id"].as<int64_t>();
    admission.active = row["active"].as<int>();
    admission.active_limit = row["active_limit"].as<int>();
    admission.outcome = row["admitted"].as<bool>() ? Admission::Outcome::kAdmitted
                                                   : Admission::Outcome::kQuotaReached;
    if (admission.outcome == Admission::Outcome::kQuotaReached) {
      admission.holders = HoldersOf(tx, {admission.owner_id}).at(admission.owner_id);
    }
    if (!locked.limited_owners.empty()) {
      tx.exec_prepared(kReleaseRuns.name, ArrayOf(locked.limited_owners), limits_.holding);
    }
    return absl::OkStatus();
  };
  const Prelude locks = LockRuns({run_id}, Reach::kOwners, limits_.holding);
  FT_RETURN_IF_ERROR(pool_.Transact("resume", locks, body));
  return admission;
}

absl::Status AdmissionStore::DeleteOldRequests(absl::Duration age) {
  for (int i = 0; i < kForgottenBatches; ++i) {
    int count = 0;
    FT_RETURN_IF_ERROR(pool_.Read("delete_old_create_requests", [&](pqxx::transaction_base& tx) {
      count = static_cast<int>(tx.exec_prepared(kDeleteOldCreateRequests.name,
                                                absl::ToInt64Seconds(age), kForgottenBatch)
                                   .affected_rows());
      return absl::OkStatus();
    }));
    if (count < kForgottenBatch) break;
  }
  return absl::OkStatus();
}

absl::StatusOr<int> AdmissionStore::CountWrongCounters() {
  int count = 0;
  FT_RETURN_IF_ERROR(pool_.Read("recount_active", [&](pqxx::transaction_base& tx) {
    count = static_cast<int>(tx.exec_prepared(kRecountActive.name).size());
    return absl::OkStatus();
  }));
  return count;
}

}  // namespace finetuned
