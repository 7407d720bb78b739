#include "db/transitions.h"

#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "base/logging.h"
#include "base/status.h"
#include "db/array.h"
#include "db/locked_runs.h"
#include "db/quarantine.h"
#include "db/queries.h"
#include "db/row.h"
#include "queue/move.h"
#include "queue/quarantine.h"

namespace finetuned {
namespace {

// Stores what completed runs register, as the next versions of their models.
void RegisterModels(pqxx::transaction_base& tx, const std::vector<Move>& moves) {
  std::set<int64_t> ids;
  ArrayText run_id, checkpoint, size_bytes, sha256;
  for (const Move& move : moves) {
    if (!move.model.has_value()) continue;
    ids.insert(move.run_id);
    run_id.Add(move.run_id);
    checkpoint.Add(move.model->checkpoint);
    size_bytes.Add(move.model->size_bytes);
    sha256.Add(move.model->manifest_sha256);
  }
  if (ids.empty()) return;
  tx.exec_prepared(kLockModelsOfRuns.name, ArrayOf(ids));
  tx.exec_prepared(kRegisterVersions.name, run_id.str(), checkpoint.str(), size_bytes.str(),
                   sha256.str());
}

// Writes the moves, and lets the next runs of owners with a holding limit into the queue.
void ApplyMoves(pqxx::transaction_base& tx, const std::vector<Move>& moves,
                const TransitionStore::Options& options, const std::set<int64_t>& limited_owners) {
  if (moves.empty()) return;
  ArrayText run_id, state, event, message, ends, stop, detail, failure, attribution, lost, delay,
      reason, frees;
  std::set<int64_t> with_damaged;
  for (const Move& move : moves) {
    run_id.Add(move.run_id);
    state.Add(Name(move.to));
    event.Add(Name(move.event));
    message.Add(move.message);
    ends.Add(move.ends_attempt);
    stop.Add(Name(move.stop_requested));
    const bool failed = move.to == RunState::kFailed;
    detail.AddBytes(move.failure ? options.encoder.event_detail(*move.failure) : "");
    failure.AddBytes(failed && move.failure ? options.encoder.failure(*move.failure) : "");
    attribution.Add(Name(move.attribution));
    lost.Add(move.worker_lost);
    delay.Add(absl::ToDoubleSeconds(move.retry_delay));
    reason.Add(move.state_reason);
    frees.Add(IsActive(move.from) && !IsActive(move.to));
    if (move.drops_checkpoint) with_damaged.insert(move.run_id);
  }
  tx.exec_prepared(kApplyTransitions.name, run_id.str(), state.str(), event.str(), message.str(),
                   ends.str(), stop.str(), detail.str(), failure.str(), attribution.str(),
                   lost.str(), delay.str(), reason.str(), frees.str());
  RegisterModels(tx, moves);
  if (!with_damaged.empty()) {
    tx.exec_prepared(kDropNewestCheckpoints.name, ArrayOf(with_damaged));
  }
  if (!limited_owners.empty()) {
    tx.exec_prepared(kReleaseRuns.name, ArrayOf(limited_owners), options.holding_limit);
  }
}

// The workers that these moves speak against.
std::set<int64_t> Losers(const std::vector<Move>& moves) {
  std::set<int64_t> losers;
  for (const Move& move : moves) {
    if (move.ends_attempt && CountsAgainstWorker(move.attribution, move.worker_lost)) {
      losers.insert(move.worker_id);
    }
  }
  return losers;
}

// Decides about one run, under its locks, and writes what was decided. Nothing is returned where
// that is nothing, or where there is no such run.
absl::StatusOr<std::optional<Move>> MoveRun(
    Pool& pool, const char* name, int64_t run_id, Reach reach,
    const TransitionStore::Options& options,
    const std::function<absl::StatusOr<std::optional<Move>>(const RunSnapshot&)>& decide) {
  std::optional<Move> move;
  const auto body = [&](pqxx::transaction_base& tx, const pqxx::result& rows) {
    move.reset();
    const LockedRuns locked(rows);
    if (locked.only() == nullptr) return absl::OkStatus();
    FT_ASSIGN_OR_RETURN(move, decide(*locked.only()));
    if (move.has_value()) ApplyMoves(tx, {*move}, options, locked.limited_owners);
    return absl::OkStatus();
  };
  const Prelude locks = LockRuns({run_id}, reach, options.holding_limit);
  FT_RETURN_IF_ERROR(pool.Transact(name, locks, body));
  return move;
}

std::optional<Moved> MovedBy(const std::optional<Move>& move) {
  if (!move.has_value()) return std::nullopt;
  return Moved{move->from, move->to};
}

void WriteReports(pqxx::transaction_base& tx,
                  const std::vector<std::pair<const ReportItem*, ReportOutcome>>& outcomes) {
  ArrayText run, epoch, state, last_seq, progress, remaining, sets, starts, acked, links,
      metric_bytes;
  ArrayText c_run, c_name, c_epoch, c_step, c_path, c_detail;
  ArrayText e_run, e_seq, e_type, e_message, e_detail;
  std::set<int64_t> with_checkpoints;
  for (const auto& [item, outcome] : outcomes) {
    run.Add(item->run_id);
    epoch.Add(item->epoch);
    state.Add(Name(outcome.state));
    last_seq.Add(outcome.last_seq);
    progress.AddBytes(outcome.progress);
    remaining.Add(outcome.remaining ? absl::ToDoubleSeconds(*outcome.remaining) : -1.0);
    sets.Add(outcome.sets_estimate);
    starts.Add(outcome.starts);
    acked.Add(outcome.acked_report);
    metric_bytes.Add(outcome.metric_bytes);
    outcome.links_json ? links.Add(*outcome.links_json) : links.AddNull();
    // One statement cannot write a checkpoint twice; the newest of a name counts.
    std::map<std::string, const SavedCheckpoint*> saved;
    for (const SavedCheckpoint& checkpoint : outcome.checkpoints) {
      saved[checkpoint.name] = &checkpoint;
    }
    for (const auto& [name, checkpoint] : saved) {
      c_run.Add(item->run_id);
      c_name.Add(name);
      c_epoch.Add(item->epoch);
      c_step.Add(checkpoint->step);
      c_path.Add(checkpoint->path);
      c_detail.AddBytes(checkpoint->detail);
      with_checkpoints.insert(item->run_id);
    }
    for (const Event& event : outcome.events) {
      e_run.Add(item->run_id);
      e_seq.Add(event.seq);
      e_type.Add(Name(event.type));
      e_message.Add(event.message);
      e_detail.AddBytes(event.detail);
    }
  }
  tx.exec_prepared(kStoreReports.name, run.str(), epoch.str(), state.str(), last_seq.str(),
                   progress.str(), remaining.str(), sets.str(), starts.str(), acked.str(),
                   links.str(), metric_bytes.str(), c_run.str(), c_name.str(), c_epoch.str(),
                   c_step.str(), c_path.str(), c_detail.str(), e_run.str(), e_seq.str(),
                   e_type.str(), e_message.str(), e_detail.str());
  if (!with_checkpoints.empty()) {
    tx.exec_prepared(kTrimCheckpoints.name, ArrayOf(with_checkpoints));
  }
}

}  // namespace

absl::StatusOr<std::vector<absl::StatusOr<ReportResult>>> TransitionStore::Report(
    const std::vector<ReportItem>& items) {
  std::set<int64_t> ids;
  for (const ReportItem& item : items) ids.insert(item.run_id);
  std::vector<absl::StatusOr<ReportResult>> results;
  const Prelude locks = LockRuns(ids, Reach::kRuns);
  FT_RETURN_IF_ERROR(
      pool_.Transact("report", locks, [&](pqxx::transaction_base& tx, const pqxx::result& rows) {
        results.assign(items.size(), ReportResult());
        const auto runs = LockedRuns(rows).runs;
        std::vector<std::pair<const ReportItem*, ReportOutcome>> outcomes;
        for (size_t i = 0; i < items.size(); ++i) {
          const ReportItem& item = items[i];
          const auto run = runs.find(item.run_id);
          if (run == runs.end()) {
            results[i] = LeaseLostError(item.run_id, item.epoch);
            continue;
          }
          auto outcome = DecideReports(run->second, item.session, item.epoch, item.reports);
          if (!outcome.ok()) {
            results[i] = outcome.status();
            continue;
          }
          const bool changes = outcome->Changes(run->second);
          results[i] =
              ReportResult{outcome->acked_report, changes, run->second.state, outcome->state};
          if (changes) outcomes.emplace_back(&item, *std::move(outcome));
        }
        if (!outcomes.empty()) WriteReports(tx, outcomes);
        return absl::OkStatus();
      }));
  return results;
}

absl::StatusOr<std::vector<absl::StatusOr<CompletionResult>>> TransitionStore::Complete(
    const std::vector<CompletionItem>& items) {
  std::set<int64_t> ids;
  for (const CompletionItem& item : items) ids.insert(item.run_id);
  std::vector<absl::StatusOr<CompletionResult>> results;
  std::set<int64_t> losers;
  const Prelude locks = LockRuns(ids, Reach::kAttempts, options_.holding_limit);
  FT_RETURN_IF_ERROR(
      pool_.Transact("complete", locks, [&](pqxx::transaction_base& tx, const pqxx::result& rows) {
        results.assign(items.size(), CompletionResult());
        const LockedRuns locked(rows);
        std::vector<Move> moves;
        for (size_t i = 0; i < items.size(); ++i) {
          const CompletionItem& item = items[i];
          const auto run = locked.runs.find(item.run_id);
          absl::StatusOr<Move> move = LeaseLostError(item.run_id, item.epoch);
          if (run != locked.runs.end()) {
            move = MoveAtCompletion(run->second, item.session, item.epoch, item.last_report,
                                    item.end, options_.retries);
          }
          if (ErrorReason(move.status()) == "LEASE_LOST") {
            // Perhaps this very end was stored and its answer lost.
            const auto ends = tx.exec_prepared(kAttemptEnd.name, item.run_id, item.epoch);
            if (!ends.empty() && ends[0]["ended"].as<bool>()) {
              const RunState state = ParseRunState(ends[0]["state"].c_str()).value();
              results[i] = CompletionResult{state, state, false};
              continue;
            }
          }
          if (!move.ok()) {
            results[i] = move.status();
            continue;
          }
          results[i] = CompletionResult{move->from, move->to, true};
          moves.push_back(*std::move(move));
        }
        ApplyMoves(tx, moves, options_, locked.limited_owners);
        losers = Losers(moves);
        return absl::OkStatus();
      }));
  JudgeWorkers(losers);
  return results;
}

absl::StatusOr<std::vector<absl::StatusOr<CancelResult>>> TransitionStore::Cancel(
    const std::vector<int64_t>& run_ids, const std::string& message) {
  const std::set<int64_t> ids(run_ids.begin(), run_ids.end());
  std::map<int64_t, CancelResult> by_run;
  const Prelude locks = LockRuns(ids, Reach::kOwners, options_.holding_limit);
  FT_RETURN_IF_ERROR(
      pool_.Transact("cancel", locks, [&](pqxx::transaction_base& tx, const pqxx::result& rows) {
        by_run.clear();
        std::vector<Move> moves;
        const LockedRuns locked(rows);
        for (const auto& [run_id, run] : locked.runs) {
          CancelResult result{CancelResult::Outcome::kStopping, run.state, run.state};
          if (IsTerminal(run.state)) result.outcome = CancelResult::Outcome::kAlreadyTerminal;
          FT_ASSIGN_OR_RETURN(std::optional<Move> move, MoveAtCancel(run, message));
          if (move.has_value()) {
            result.to = move->to;
            if (IsTerminal(move->to)) result.outcome = CancelResult::Outcome::kStopped;
            moves.push_back(*std::move(move));
          }
          by_run[run_id] = result;
        }
        ApplyMoves(tx, moves, options_, locked.limited_owners);
        return absl::OkStatus();
      }));
  std::vector<absl::StatusOr<CancelResult>> results;
  for (const int64_t run_id : run_ids) {
    const auto found = by_run.find(run_id);
    if (found == by_run.end()) {
      results.push_back(MakeError(absl::StatusCode::kNotFound, "RUN_NOT_FOUND", "no such run"));
    } else {
      results.push_back(found->second);
    }
  }
  return results;
}

absl::StatusOr<PauseResult> TransitionStore::Pause(int64_t run_id, const std::string& message) {
  PauseResult result;
  const Prelude locks = LockRuns({run_id}, Reach::kOwners, options_.holding_limit);
  const auto body = [&](pqxx::transaction_base& tx, const pqxx::result& rows) -> absl::Status {
    const LockedRuns locked(rows);
    const RunSnapshot* const run = locked.only();
    if (run == nullptr) {
      return MakeError(absl::StatusCode::kNotFound, "RUN_NOT_FOUND", "no such run");
    }
    const int paused_count = tx.exec_prepared1(kCountPaused.name, run_id)[0].as<int>();
    FT_ASSIGN_OR_RETURN(const std::optional<Move> move, MoveAtPause(*run, paused_count, message));
    result = PauseResult{run->state, run->state, false};
    if (!move.has_value()) return absl::OkStatus();
    result.to = move->to;
    result.told = move->stop_requested == StopKind::kPause;
    ApplyMoves(tx, {*move}, options_, locked.limited_owners);
    return absl::OkStatus();
  };
  FT_RETURN_IF_ERROR(pool_.Transact("pause", locks, body));
  return result;
}

absl::StatusOr<std::optional<Moved>> TransitionStore::Lose(int64_t run_id,
                                                           const LossEvidence& evidence) {
  FT_ASSIGN_OR_RETURN(
      const std::optional<Move> move,
      MoveRun(pool_, "lose", run_id, Reach::kAttempts, options_,
              [&](const RunSnapshot& run) { return MoveAtLoss(run, evidence, options_.retries); }));
  if (move.has_value()) JudgeWorkers(Losers({*move}));
  return MovedBy(move);
}

// Asks a run to stop where `still` says that it is to, and it was not told before.
absl::StatusOr<std::optional<Moved>> TransitionStore::AskRunToStop(
    const char* name, int64_t run_id, StopKind kind, const std::string& message,
    const std::function<bool(const RunSnapshot&)>& still) {
  FT_ASSIGN_OR_RETURN(const std::optional<Move> move,
                      MoveRun(pool_, name, run_id, Reach::kOwners, options_,
                              [&](const RunSnapshot& run) -> absl::StatusOr<std::optional<Move>> {
                                if (!still(run)) return std::nullopt;
                                return MoveAtStop(run, kind, message);
                              }));
  return MovedBy(move);
}

absl::StatusOr<std::optional<Moved>> TransitionStore::StopForDeadline(int64_t run_id) {
  return AskRunToStop("stop_for_deadline", run_id, StopKind::kDeadline,
                      "The run reached its scheduling.max_run_time and is being stopped.",
                      [](const RunSnapshot& run) { return run.overdue; });
}

absl::StatusOr<std::optional<Moved>> TransitionStore::FailOverlongWait(int64_t run_id) {
  FT_ASSIGN_OR_RETURN(
      const std::optional<Move> move,
      MoveRun(pool_, "fail_overlong_wait", run_id, Reach::kOwners, options_, MoveAtQueueTimeout));
  return MovedBy(move);
}

void TransitionStore::JudgeWorkers(const std::set<int64_t>& worker_ids) {
  if (worker_ids.empty() || options_.quarantine.losses == 0) return;
  const absl::Status status = QuarantineStore(&pool_, options_.quarantine).Judge(worker_ids);
  if (!status.ok()) Log(LogLevel::kWarning, "workers were not judged", {{"error", status}});
}

absl::StatusOr<std::optional<Moved>> TransitionStore::StopForDrain(int64_t run_id, int64_t epoch,
                                                                   const std::string& worker) {
  // Training that is over goes on to publish its last checkpoint.
  return AskRunToStop("stop_for_drain", run_id, StopKind::kPreempt,
                      "The worker " + worker + " is taken out of use; the run goes on elsewhere.",
                      [epoch](const RunSnapshot& run) {
                        return run.epoch == epoch && run.state != RunState::kTerminating;
                      });
}

}  // namespace finetuned
