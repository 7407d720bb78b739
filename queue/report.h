#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "queue/event.h"
#include "queue/run.h"

// What the reports of an attempt do to its run: a pure decision. Reports are numbered by the worker
// and stored once; events get their numbers here, from the run's row.

namespace finetuned {

// A checkpoint that a worker has published.
struct SavedCheckpoint {
  std::string name;
  std::string path;
  int64_t step = 0;
  // Serialised Checkpoint.
  std::string detail;
};

// One report, already translated from the wire.
struct IncomingReport {
  int64_t number = 0;
  EventType type = EventType::kOther;
  std::string message;
  std::string detail;
  // With TRAIN_UPDATED: serialised Progress, and the time left where it is known.
  std::string progress;
  std::optional<absl::Duration> remaining;
  // With CHECKPOINT_SAVED.
  std::optional<SavedCheckpoint> checkpoint;
  // How much of the attempt's metric file can be read.
  int64_t metric_bytes = 0;
  // With LINKED: all of the run's links from now on, as JSON.
  std::optional<std::string> links_json;
};

// What to store.
struct ReportOutcome {
  RunState state = RunState::kRunning;
  int64_t last_seq = 0;
  int64_t acked_report = 0;
  // Events with seq, type, message and detail.
  std::vector<Event> events;
  std::vector<SavedCheckpoint> checkpoints;
  // The newest; empty to leave it as it is.
  std::string progress;
  bool sets_estimate = false;
  std::optional<absl::Duration> remaining;
  // The greatest; never lower than what is stored.
  int64_t metric_bytes = 0;
  // The newest; nothing to leave them as they are.
  std::optional<std::string> links_json;
  // Whether the attempt's trainer has started with these.
  bool starts = false;

  bool Changes(const RunSnapshot& run) const { return acked_report != run.acked_report; }
};

// FAILED_PRECONDITION `LEASE_LOST` when the session does not hold the attempt; INVALID_ARGUMENT for
// types that a worker may not report and numbers that do not ascend or leave a gap after what is
// committed.
absl::StatusOr<ReportOutcome> DecideReports(const RunSnapshot& run, int64_t session, int64_t epoch,
                                            const std::vector<IncomingReport>& reports);

// The error of everything that a worker sends for an attempt it does not hold.
absl::Status LeaseLostError(int64_t run_id, int64_t epoch);

}  // namespace finetuned
