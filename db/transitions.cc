#include "db/transitions.h"

#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "db/array.h"
#include "db/locked_runs.h"
#include "db/queries.h"
#include "db/row.h"
#include "queue/pause.h"

namespace finetuned {
namespace {

// One row of apply_transitions.
struct Move {
  int64_t run_id = 0;
  RunState from = RunState::kPending;
  RunState to = RunState::kPending;
  EventType event = EventType::kOther;
  std::string message;
  std::string detail;
  std::string failure;
  StopKind stop_requested = StopKind::kNone;
  bool ends_attempt = false;
  int trainer_failures = 0;
  int infra_losses = 0;
  std::string state_reason;
  // Registered with it.
  std::optional<ModelFiles> model;
  bool drops_checkpoint = false;
};

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
                const std::set<int64_t>& limited_owners, std::optional<int> holding_limit) {
  if (moves.empty()) return;
  ArrayText run_id, state, event, message, ends, stop, detail, failure, failures, losses, reason,
      frees;
  std::set<int64_t> with_damaged;
  for (const Move& move : moves) {
    run_id.Add(move.run_id);
    state.Add(Name(move.to));
    event.Add(Name(move.event));
    message.Add(move.message);
    ends.Add(move.ends_attempt);
    stop.Add(Name(move.stop_requested));
    detail.AddBytes(move.detail);
    failure.AddBytes(move.failure);
    failures.Add(move.trainer_failures);
    losses.Add(move.infra_losses);
    reason.Add(move.state_reason);
    frees.Add(IsActive(move.from) && !IsActive(move.to));
    if (move.drops_checkpoint) with_damaged.insert(move.run_id);
  }
  tx.exec_prepared(kApplyTransitions.name, run_id.str(), state.str(), event.str(), message.str(),
                   ends.str(), stop.str(), detail.str(), failure.str(), failures.str(),
                   losses.str(), reason.str(), frees.str());
  RegisterModels(tx, moves);
  if (!with_damaged.empty()) {
    tx.exec_prepared(kDropNewestCheckpoints.name, ArrayOf(with_damaged));
  }
  if (!limited_owners.empty()) {
    tx.exec_prepared(kReleaseRuns.name, ArrayOf(limited_owners), holding_limit);
  }
}

absl::StatusOr<Move> MoveAtAttemptEnd(const RunSnapshot& run, const AttemptEnd& end,
                                      int infra_retries, const FailureEncoder& encoder) {
  const AttemptDecision decision = DecideAttemptEnd(run, end, infra_retries);
  Move move;
  move.run_id = run.run_id;
  move.from = run.state;
  FT_ASSIGN_OR_RETURN(move.to, Apply(run.state, decision.transition));
  move.event = decision.event;
  move.message = decision.message;
  move.ends_attempt = true;
  move.trainer_failures = decision.trainer_failures;
  move.infra_losses = decision.infra_losses;
  move.drops_checkpoint = decision.drops_checkpoint;
  if (run.registers && decision.event == EventType::kCompleted) move.model = end.model;
  if (decision.event == EventType::kFailed || decision.event == EventType::kRequeued) {
    move.detail = encoder.event_detail(decision.failure);
  }
  if (decision.event == EventType::kFailed || decision.event == EventType::kRequeued ||
      decision.event == EventType::kPaused) {
    move.state_reason = decision.message;
  }
  if (decision.event == EventType::kFailed) move.failure = encoder.failure(decision.failure);
  return move;
}

// A stop of a run that a worker holds: told to the worker with its next renewal.
Move AskToStop(const RunSnapshot& run, StopKind kind, const std::string& message) {
  Move move;
  move.run_id = run.run_id;
  move.from = run.state;
  move.to = RunState::kTerminating;
  move.event = EventType::kStopRequested;
  move.message = message;
  move.state_reason = message;
  move.stop_requested = kind;
  move.trainer_failures = run.trainer_failures;
  move.infra_losses = run.infra_losses;
  return move;
}

// What becomes at once of a run that nothing holds.
absl::StatusOr<Move> MoveAtOnce(const RunSnapshot& run, RunTransition transition, EventType event,
                                const std::string& message, const std::string& reason) {
  Move move;
  move.run_id = run.run_id;
  move.from = run.state;
  FT_ASSIGN_OR_RETURN(move.to, Apply(run.state, transition));
  move.event = event;
  move.message = message;
  move.state_reason = reason;
  move.trainer_failures = run.trainer_failures;
  move.infra_losses = run.infra_losses;
  return move;
}

void WriteReports(pqxx::transaction_base& tx,
                  const std::vector<std::pair<const ReportItem*, ReportOutcome>>& outcomes) {
  ArrayText run, epoch, state, last_seq, progress, remaining, sets, starts, acked, links;
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
                   links.str(), c_run.str(), c_name.str(), c_epoch.str(), c_step.str(),
                   c_path.str(), c_detail.str(), e_run.str(), e_seq.str(), e_type.str(),
                   e_message.str(), e_detail.str());
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
  FT_RETURN_IF_ERROR(pool_.Transact("report", [&](pqxx::transaction_base& tx) {
    results.assign(items.size(), ReportResult());
    const auto runs = LockRuns(tx, ids);
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
      results[i] = ReportResult{outcome->acked_report, changes, run->second.state, outcome->state};
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
  FT_RETURN_IF_ERROR(pool_.Transact("complete", [&](pqxx::transaction_base& tx) {
    results.assign(items.size(), CompletionResult());
    const auto limited = LockOwners(tx, ids, options_.holding_limit);
    const auto runs = LockRuns(tx, ids, /*with_leases=*/true);
    std::vector<Move> moves;
    for (size_t i = 0; i < items.size(); ++i) {
      const CompletionItem& item = items[i];
      const auto run = runs.find(item.run_id);
      if (run == runs.end() || !run->second.HeldBy(item.session, item.epoch)) {
        // Perhaps this very end was stored and its answer lost.
        const auto rows = tx.exec_prepared(kAttemptEnd.name, item.run_id, item.epoch);
        if (!rows.empty() && rows[0]["ended"].as<bool>()) {
          const RunState state = ParseRunState(rows[0]["state"].c_str()).value();
          results[i] = CompletionResult{state, state, false};
        } else {
          results[i] = LeaseLostError(item.run_id, item.epoch);
        }
        continue;
      }
      if (run->second.acked_report < item.last_report) {
        results[i] =
            MakeError(absl::StatusCode::kFailedPrecondition, "REPORTS_MISSING",
                      absl::StrCat("report ", item.last_report, " of run ", item.run_id,
                                   " is not stored; the last is ", run->second.acked_report));
        continue;
      }
      auto move = MoveAtAttemptEnd(run->second, item.end, options_.infra_retries, options_.encoder);
      if (!move.ok()) {
        results[i] = move.status();
        continue;
      }
      results[i] = CompletionResult{move->from, move->to, true};
      moves.push_back(*std::move(move));
    }
    ApplyMoves(tx, moves, limited, options_.holding_limit);
    return absl::OkStatus();
  }));
  return results;
}

absl::StatusOr<std::vector<absl::StatusOr<CancelResult>>> TransitionStore::Cancel(
    const std::vector<int64_t>& run_ids, const std::string& message) {
  const std::set<int64_t> ids(run_ids.begin(), run_ids.end());
  std::map<int64_t, CancelResult> by_run;
  FT_RETURN_IF_ERROR(pool_.Transact("cancel", [&](pqxx::transaction_base& tx) {
    by_run.clear();
    std::vector<Move> moves;
    const auto limited = LockOwners(tx, ids, options_.holding_limit);
    for (const auto& [run_id, run] : LockRuns(tx, ids)) {
      CancelResult result{CancelResult::Outcome::kStopping, run.state, run.state};
      if (IsTerminal(run.state)) {
        result.outcome = CancelResult::Outcome::kAlreadyTerminal;
      } else if (!IsHeld(run.state)) {
        FT_ASSIGN_OR_RETURN(Move move, MoveAtOnce(run, RunTransition::kStop, EventType::kCanceled,
                                                  CanceledMessage(), message));
        result.outcome = CancelResult::Outcome::kStopped;
        result.to = move.to;
        moves.push_back(std::move(move));
      } else if (run.stop_requested != StopKind::kCancel) {
        moves.push_back(AskToStop(run, StopKind::kCancel, message));
        result.to = moves.back().to;
      }
      by_run[run_id] = result;
    }
    ApplyMoves(tx, moves, limited, options_.holding_limit);
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
  FT_RETURN_IF_ERROR(pool_.Transact("pause", [&](pqxx::transaction_base& tx) {
    const auto limited = LockOwners(tx, {run_id}, options_.holding_limit);
    const auto runs = LockRuns(tx, {run_id});
    const auto found = runs.find(run_id);
    if (found == runs.end()) {
      return MakeError(absl::StatusCode::kNotFound, "RUN_NOT_FOUND", "no such run");
    }
    const RunSnapshot& run = found->second;
    const int paused_count = tx.exec_prepared1(kCountPaused.name, run_id)[0].as<int>();
    FT_ASSIGN_OR_RETURN(const PauseEffect effect, DecidePause(run, paused_count));
    result = PauseResult{run.state, run.state, effect == PauseEffect::kStopping};
    if (effect == PauseEffect::kNone) return absl::OkStatus();
    Move move = AskToStop(run, StopKind::kPause, message);
    if (effect == PauseEffect::kPaused) {
      FT_ASSIGN_OR_RETURN(move, MoveAtOnce(run, RunTransition::kPause, EventType::kPaused,
                                           PausedMessage(run.has_checkpoint), message));
    }
    result.to = move.to;
    ApplyMoves(tx, {move}, limited, options_.holding_limit);
    return absl::OkStatus();
  }));
  return result;
}

absl::StatusOr<std::optional<Moved>> TransitionStore::Lose(int64_t run_id, int64_t epoch,
                                                           bool must_be_expired,
                                                           int64_t except_session,
                                                           const std::string& why) {
  std::optional<Moved> moved;
  FT_RETURN_IF_ERROR(pool_.Transact("lose", [&](pqxx::transaction_base& tx) {
    moved.reset();
    const auto limited = LockOwners(tx, {run_id}, options_.holding_limit);
    const auto runs = LockRuns(tx, {run_id}, /*with_leases=*/true);
    const auto found = runs.find(run_id);
    if (found == runs.end()) return absl::OkStatus();
    const RunSnapshot& run = found->second;
    if (run.epoch != epoch || run.lease_epoch != epoch || !IsHeld(run.state))
      return absl::OkStatus();
    if (must_be_expired ? !run.lease_expired : run.session_id == except_session) {
      return absl::OkStatus();
    }
    AttemptEnd end;
    end.lost = true;
    end.failure.code = "ATTEMPT_LOST";
    end.failure.message = why;
    FT_ASSIGN_OR_RETURN(Move move,
                        MoveAtAttemptEnd(run, end, options_.infra_retries, options_.encoder));
    ApplyMoves(tx, {move}, limited, options_.holding_limit);
    moved = Moved{move.from, move.to};
    return absl::OkStatus();
  }));
  return moved;
}

// Asks a run to stop where `still` says that it is to, and it was not told before.
absl::StatusOr<std::optional<Moved>> TransitionStore::AskRunToStop(
    const char* name, int64_t run_id, StopKind kind, const std::string& message,
    const std::function<bool(const RunSnapshot&)>& still) {
  std::optional<Moved> moved;
  FT_RETURN_IF_ERROR(pool_.Transact(name, [&](pqxx::transaction_base& tx) {
    moved.reset();
    const auto limited = LockOwners(tx, {run_id}, options_.holding_limit);
    const auto runs = LockRuns(tx, {run_id});
    const auto found = runs.find(run_id);
    if (found == runs.end()) return absl::OkStatus();
    const RunSnapshot& run = found->second;
    if (!IsHeld(run.state) || run.stop_requested != StopKind::kNone || !still(run)) {
      return absl::OkStatus();
    }
    const Move move = AskToStop(run, kind, message);
    ApplyMoves(tx, {move}, limited, options_.holding_limit);
    moved = Moved{move.from, move.to};
    return absl::OkStatus();
  }));
  return moved;
}

absl::StatusOr<std::optional<Moved>> TransitionStore::StopForDeadline(int64_t run_id) {
  return AskRunToStop("stop_for_deadline", run_id, StopKind::kDeadline,
                      "The run reached its scheduling.max_run_time and is being stopped.",
                      [](const RunSnapshot& run) { return run.overdue; });
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
