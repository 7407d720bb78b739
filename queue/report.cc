#include "queue/report.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace finetuned {

absl::Status LeaseLostError(int64_t run_id, int64_t epoch) {
  return MakeError(absl::StatusCode::kFailedPrecondition, "LEASE_LOST",
                   absl::StrCat("attempt ", epoch, " of run ", run_id,
                                " is not current any more: stop its trainer"),
                   {{"run_id", absl::StrCat(run_id)}, {"epoch", absl::StrCat(epoch)}});
}

absl::StatusOr<ReportOutcome> DecideReports(const RunSnapshot& run, int64_t session, int64_t epoch,
                                            const std::vector<IncomingReport>& reports) {
  if (!run.HeldBy(session, epoch)) return LeaseLostError(run.run_id, epoch);
  ReportOutcome outcome;
  outcome.state = run.state;
  outcome.last_seq = run.last_seq;
  outcome.acked_report = run.acked_report;
  for (const IncomingReport& report : reports) {
    if (report.number <= outcome.acked_report) continue;  // Stored before; its answer was lost.
    if (report.number != outcome.acked_report + 1) {
      return InvalidArgument(
          {{"items.reports.number",
            absl::StrCat("is ", report.number, " where ", outcome.acked_report + 1, " is next"),
            "REPORT_OUT_OF_ORDER"}});
    }
    if (!IsReportable(report.type)) {
      return InvalidArgument({{"items.reports.event.type",
                               absl::StrCat(Name(report.type), " is not a worker's to report"),
                               "EVENT_TYPE_NOT_REPORTABLE"}});
    }
    outcome.acked_report = report.number;
    if (report.type == EventType::kStarted && outcome.state == RunState::kStarting) {
      FT_ASSIGN_OR_RETURN(outcome.state, Apply(outcome.state, RunTransition::kStart));
    }
    if (report.type == EventType::kStarted) outcome.starts = true;
    if (report.type == EventType::kTrainFinished && outcome.state != RunState::kTerminating) {
      FT_ASSIGN_OR_RETURN(outcome.state, Apply(outcome.state, RunTransition::kTerminate));
    }
    if (report.type == EventType::kTrainUpdated) {
      outcome.progress = report.progress;
      outcome.sets_estimate = true;
      outcome.remaining = report.remaining;
    }
    if (report.type == EventType::kTrainFinished) {
      outcome.sets_estimate = true;
      outcome.remaining.reset();
    }
    outcome.metric_bytes = std::max(outcome.metric_bytes, report.metric_bytes);
    if (report.links_json.has_value()) outcome.links_json = report.links_json;
    if (report.checkpoint.has_value()) outcome.checkpoints.push_back(*report.checkpoint);
    Event event;
    event.seq = ++outcome.last_seq;
    event.type = report.type;
    event.epoch = epoch;
    event.message = report.message;
    event.detail = report.detail;
    outcome.events.push_back(std::move(event));
  }
  return outcome;
}

}  // namespace finetuned
