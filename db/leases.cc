#include "db/leases.h"

#include <algorithm>
#include <set>

#include "absl/strings/str_split.h"
#include "base/logging.h"
#include "base/status.h"
#include "db/array.h"
#include "db/queries.h"
#include "db/row.h"
#include "queue/lease.h"

namespace finetuned {
namespace {

struct AttemptArrays {
  explicit AttemptArrays(const std::vector<AttemptId>& attempts) {
    for (const AttemptId& attempt : attempts) {
      run_id.Add(attempt.run_id);
      epoch.Add(attempt.epoch);
    }
  }
  ArrayText run_id, epoch;
};

LeasedRun ToLeasedRun(const Rows::Row& row) {
  LeasedRun lease;
  lease.attempt = {row["run_id"].as<int64_t>(), row["epoch"].as<int64_t>()};
  lease.workspace = row["workspace"].c_str();
  lease.name = row["name"].c_str();
  lease.spec = BytesOf(row["spec"]);
  lease.experiment_path = row["experiment_path"].c_str();
  lease.resume_from = row["resume_from"].c_str();
  for (const absl::string_view name :
       absl::StrSplit(row["checkpoints"].c_str(), '/', absl::SkipEmpty())) {
    lease.checkpoints.emplace_back(name);
  }
  lease.registers = row["registers"].as<bool>();
  lease.stop_requested = ParseStopKind(row["stop_requested"].c_str()).value();
  lease.acked_report = row["acked_report"].as<int64_t>();
  lease.waited = absl::Seconds(row["waited_seconds"].as<double>());
  return lease;
}

std::vector<LeasedRun> DescribeIn(pqxx::transaction_base& tx,
                                  const std::vector<AttemptId>& attempts) {
  std::vector<LeasedRun> leases;
  if (attempts.empty()) return leases;
  const AttemptArrays arrays(attempts);
  for (const auto row :
       Rows(tx.exec_prepared(kDescribeLeases.name, arrays.run_id.str(), arrays.epoch.str()))) {
    leases.push_back(ToLeasedRun(row));
  }
  return leases;
}

}  // namespace

absl::Status SessionSupersededError() {
  return MakeError(absl::StatusCode::kFailedPrecondition, "SESSION_SUPERSEDED",
                   "a newer session of this worker has taken over: stop all trainers and exit");
}

absl::StatusOr<OpenedSession> LeaseStore::OpenSession(const WorkerInfo& worker,
                                                      const std::vector<AttemptId>& attempts) {
  OpenedSession opened;
  FT_RETURN_IF_ERROR(pool_.Transact("open_session", [&](pqxx::transaction_base& tx) {
    opened = OpenedSession();
    const auto row =
        tx.exec_prepared1(kOpenSession.name, worker.name, worker.boot_id, worker.version,
                          worker.capacity.gpus, worker.capacity.gpu_type, worker.capacity.cpus,
                          worker.capacity.memory_bytes, worker.labels_json);
    const int64_t worker_id = row["worker_id"].as<int64_t>();
    opened.session = row["session_id"].as<int64_t>();
    const AttemptArrays arrays(attempts);
    for (const auto& kept :
         tx.exec_prepared(kAdoptLeases.name, worker_id, opened.session, arrays.run_id.str(),
                          arrays.epoch.str(), absl::ToDoubleSeconds(lease_duration_))) {
      opened.kept.push_back({kept[0].as<int64_t>(), kept[1].as<int64_t>()});
    }
    for (const auto& orphan : tx.exec_prepared(kOrphanedLeases.name, worker_id, opened.session)) {
      opened.orphaned.push_back({orphan[0].as<int64_t>(), orphan[1].as<int64_t>()});
    }
    return absl::OkStatus();
  }));
  return opened;
}

absl::Status LeaseStore::LoadShapes() {
  return pool_.Read("list_shapes", [&](pqxx::transaction_base& tx) {
    const auto rows = tx.exec_prepared(kListShapes.name);
    MutexLock lock(mutex_);
    for (const auto& row : rows) {
      shapes_[row["shape_id"].as<int>()] =
          Shape{row["gpus"].as<int>(), TextOf(row["gpu_type"]), row["cpus"].as<int>(),
                row["memory_bytes"].as<int64_t>()};
    }
    return absl::OkStatus();
  });
}

absl::StatusOr<std::vector<absl::StatusOr<Standing>>> LeaseStore::Check(
    const std::vector<SessionHolds>& sessions) {
  ArrayText asked, session, run_id, epoch;
  for (const SessionHolds& holds : sessions) {
    asked.Add(holds.session);
    for (const AttemptId& attempt : holds.attempts) {
      session.Add(holds.session);
      run_id.Add(attempt.run_id);
      epoch.Add(attempt.epoch);
    }
  }
  std::map<int64_t, Standing> by_session;
  FT_RETURN_IF_ERROR(pool_.Read("check_sessions", [&](pqxx::transaction_base& tx) {
    by_session.clear();
    std::map<int64_t, std::vector<AttemptId>> unlisted;
    for (const auto& row : tx.exec_prepared(kCheckSessions.name, asked.str(), session.str(),
                                            run_id.str(), epoch.str())) {
      const auto id = row["session_id"].as<int64_t>();
      const bool draining = row["draining"].as<bool>();
      Standing& standing = by_session[id];
      standing.on_trial = row["on_trial"].as<bool>();
      standing.may_have_more =
          !draining && !row["drain_requested"].as<bool>() && !row["in_quarantine"].as<bool>();
      // An operator's wish does not take away what was granted before; a worker that drains by
      // itself wants none of it.
      if (draining || row["run_id"].is_null()) continue;
      unlisted[id].push_back({row["run_id"].as<int64_t>(), row["epoch"].as<int64_t>()});
    }
    for (const auto& [id, attempts] : unlisted) by_session[id].unlisted = DescribeIn(tx, attempts);
    return absl::OkStatus();
  }));
  std::vector<absl::StatusOr<Standing>> standings;
  for (const SessionHolds& holds : sessions) {
    const auto found = by_session.find(holds.session);
    if (found == by_session.end()) {
      standings.emplace_back(SessionSupersededError());
    } else {
      standings.emplace_back(found->second);
      if (found->second.on_trial && !holds.attempts.empty()) {
        standings.back()->may_have_more = false;
      }
    }
  }
  return standings;
}

Prelude LeaseStore::LookInto(const std::vector<Claim>& claims, bool thorough) {
  std::vector<int> shape_ids, priorities;
  std::vector<int64_t> hints;
  size_t wanted = 0;
  for (const Claim& claim : claims) wanted += claim.max_count;
  MutexLock lock(mutex_);
  for (const auto& [shape_id, needed] : shapes_) {
    const auto fits = [&shape = needed](const Claim& claim) { return Fits(shape, claim.free); };
    if (std::none_of(claims.begin(), claims.end(), fits)) continue;
    for (int priority = 0; priority < kPriorityCount; ++priority) {
      const auto hint = hints_.find({shape_id, priority});
      shape_ids.push_back(shape_id);
      priorities.push_back(priority);
      hints.push_back(thorough || hint == hints_.end() ? 0 : hint->second);
    }
  }
  return Prelude().Then(kPeekQueue, shape_ids, priorities, hints, std::min(wanted, kMaxGranted));
}

std::vector<Candidate> LeaseStore::Found(const pqxx::result& rows) {
  std::vector<Candidate> candidates;
  MutexLock lock(mutex_);
  for (const auto row : Rows(rows)) {
    Candidate candidate;
    candidate.shape_id = row["shape_id"].as<int>();
    candidate.priority = static_cast<Priority>(row["priority"].as<int>());
    candidate.pos = row["pos"].as<int64_t>();
    candidate.run_id = row["run_id"].as<int64_t>();
    candidate.needed = shapes_.at(candidate.shape_id);
    candidates.push_back(candidate);
  }
  return candidates;
}

absl::StatusOr<Acquisition> LeaseStore::Acquire(const std::vector<Claim>& claims, bool thorough) {
  bool shapes_known;
  {
    MutexLock lock(mutex_);
    shapes_known = !shapes_.empty();
  }
  if (thorough || !shapes_known) FT_RETURN_IF_ERROR(LoadShapes());
  Acquisition acquired;
  std::map<LaneKey, int64_t> seen_minimum;
  const auto body = [&](pqxx::transaction_base& tx, const pqxx::result& rows) {
    acquired = Acquisition();
    acquired.grants.resize(claims.size());
    seen_minimum.clear();
    std::vector<Candidate> candidates = Found(rows);
    for (const Candidate& candidate : candidates) {
      const LaneKey lane{candidate.shape_id, static_cast<int>(candidate.priority)};
      seen_minimum.emplace(lane, candidate.pos);
    }
    ArrayText run_ids, sessions, on_trial;
    std::map<int64_t, size_t> claim_of_run;
    for (size_t i = 0; i < claims.size() && !candidates.empty(); ++i) {
      const Claim& claim = claims[i];
      const size_t room = kMaxGranted - claim_of_run.size();
      const size_t count = std::min(claim.on_trial ? 1 : claim.max_count, room);
      for (const Candidate& taken : TakeRuns(&candidates, claim.free, count)) {
        run_ids.Add(taken.run_id);
        sessions.Add(claim.session);
        claim_of_run[taken.run_id] = i;
        acquired.grants[i].refused = true;
      }
      if (claim.on_trial) on_trial.Add(claim.session);
    }
    if (claim_of_run.empty()) return absl::OkStatus();
    acquired.full = claim_of_run.size() == kMaxGranted;
    for (const auto row :
         Rows(tx.exec_prepared(kLeaseRuns.name, run_ids.str(), sessions.str(), on_trial.str(),
                               absl::ToDoubleSeconds(lease_duration_)))) {
      LeasedRun lease = ToLeasedRun(row);
      Acquisition::Grant& grant = acquired.grants[claim_of_run.at(lease.attempt.run_id)];
      grant.refused = false;
      grant.leases.push_back(std::move(lease));
    }
    return absl::OkStatus();
  };
  FT_RETURN_IF_ERROR(pool_.Transact("acquire", LookInto(claims, thorough), body));
  MutexLock lock(mutex_);
  for (const auto& [lane, minimum] : seen_minimum) {
    // A hinted look only ever moves the hint forward; a thorough one may set it back.
    int64_t& hint = hints_[lane];
    hint = thorough ? minimum : std::max(hint, minimum);
  }
  return acquired;
}

absl::StatusOr<std::vector<LeasedRun>> LeaseStore::Describe(
    const std::vector<AttemptId>& attempts) {
  std::vector<LeasedRun> leases;
  if (attempts.empty()) return leases;
  FT_RETURN_IF_ERROR(pool_.Read("describe_leases", [&](pqxx::transaction_base& tx) {
    leases = DescribeIn(tx, attempts);
    return absl::OkStatus();
  }));
  return leases;
}

absl::StatusOr<bool> LeaseStore::RequestDrain(const std::string& worker, bool drain) {
  bool known = false;
  FT_RETURN_IF_ERROR(pool_.Transact("request_drain", [&](pqxx::transaction_base& tx) {
    known = !tx.exec_prepared(kRequestDrain.name, worker, drain).empty();
    return absl::OkStatus();
  }));
  return known;
}

absl::StatusOr<std::vector<absl::StatusOr<RenewalResult>>> LeaseStore::Renew(
    const std::vector<RenewalItem>& items) {
  std::vector<int64_t> touched;
  std::vector<bool> draining;
  ArrayText session, run_id, epoch;
  for (const RenewalItem& item : items) {
    touched.push_back(item.session);
    draining.push_back(item.draining);
    for (const AttemptId& attempt : item.attempts) {
      session.Add(item.session);
      run_id.Add(attempt.run_id);
      epoch.Add(attempt.epoch);
    }
  }
  if (std::set<int64_t>(touched.begin(), touched.end()).size() < items.size()) {
    return absl::FailedPreconditionError("a session twice in a batch");
  }
  std::vector<absl::StatusOr<RenewalResult>> results;
  const auto body = [&](pqxx::transaction_base& tx, const pqxx::result& current) {
    std::map<int64_t, RenewalResult> by_session;
    for (const int64_t id : touched) by_session[id].session_is_current = false;
    for (const auto& row : current) by_session[row[0].as<int64_t>()].session_is_current = true;
    for (const auto row :
         Rows(tx.exec_prepared(kRenewLeases.name, session.str(), run_id.str(), epoch.str(),
                               absl::ToDoubleSeconds(lease_duration_)))) {
      const AttemptId attempt{row["run_id"].as<int64_t>(), row["epoch"].as<int64_t>()};
      by_session[row["session_id"].as<int64_t>()].held[attempt] =
          ParseStopKind(row["stop_requested"].c_str()).value();
    }
    results.clear();
    for (const RenewalItem& item : items) results.push_back(std::move(by_session[item.session]));
    return absl::OkStatus();
  };
  const Prelude touch = Prelude().Then(kTouchSessions, touched, draining);
  FT_RETURN_IF_ERROR(pool_.Transact("renew", touch, body));
  return results;
}

absl::StatusOr<std::vector<AttemptId>> LeaseStore::FindExpired(absl::Duration looking_interval) {
  std::vector<AttemptId> expired;
  FT_RETURN_IF_ERROR(pool_.Transact("find_expired", [&](pqxx::transaction_base& tx) {
    expired.clear();
    const auto row = tx.exec_prepared1(kBeginReaping.name);
    const absl::Duration gap = absl::Seconds(row[0].as<double>());
    if (DeservesAmnesty(gap, looking_interval)) {
      tx.exec_prepared(kExtendLeases.name, absl::ToDoubleSeconds(lease_duration_));
      Log(LogLevel::kWarning,
          "nobody could renew leases for a while: all get their full time again",
          {{"gap_seconds", absl::ToDoubleSeconds(gap)}});
    }
    for (const auto& lease : tx.exec_prepared(kExpiredLeases.name)) {
      expired.push_back({lease[0].as<int64_t>(), lease[1].as<int64_t>()});
    }
    return absl::OkStatus();
  }));
  return expired;
}

absl::StatusOr<std::vector<int64_t>> LeaseStore::FindRuns(const Query& query) {
  std::vector<int64_t> run_ids;
  FT_RETURN_IF_ERROR(pool_.Read(query.name, [&](pqxx::transaction_base& tx) {
    run_ids.clear();
    for (const auto& row : tx.exec_prepared(query.name)) run_ids.push_back(row[0].as<int64_t>());
    return absl::OkStatus();
  }));
  return run_ids;
}

absl::StatusOr<std::vector<int64_t>> LeaseStore::FindOverdue() { return FindRuns(kOverdueRuns); }

absl::StatusOr<std::vector<int64_t>> LeaseStore::FindOverlongWaits() {
  return FindRuns(kOverlongWaits);
}

}  // namespace finetuned
