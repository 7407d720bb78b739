#include <algorithm>
#include <ostream>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "cli/cancel_results.h"
#include "cli/commands/commands.h"
#include "cli/confirm.h"
#include "cli/errors.h"
#include "cli/run_text.h"
#include "cli/sanitize.h"

namespace finetuned::cli {
namespace {

// The most that one call takes.
constexpr size_t kNamesPerCall = 100;
constexpr size_t kMaxNames = 10000;

// Says what a cancel would meet, changing nothing.
absl::StatusOr<int> Preview(Session& session, Client& client, const CancelFlags& flags) {
  int exit_status = kExitOk;
  for (const std::string& name : flags.names) {
    v1::GetRunRequest request;
    request.set_name(name);
    const absl::StatusOr<v1::Run> run = client.GetRun(request);
    if (!run.ok() && !absl::IsNotFound(run.status())) return run.status();
    if (!run.ok()) exit_status = kExitNotFound;
    session.io().out << Sanitize(name) << "  "
                     << (!run.ok() ? "NOT_FOUND"
                         : IsTerminal(run->state())
                             ? absl::StrCat("is ", StateName(run->state()), " already")
                             : absl::StrCat("would be stopped; it is ", StateName(run->state())))
                     << "\n";
  }
  session.io().out << std::flush;
  session.Note("Nothing was changed (--dry-run).");
  return exit_status;
}

// Adds the results of each call to `all`, also where a later one fails.
absl::Status Cancel(Client& client, const CancelFlags& flags, v1::CancelRunsResponse& all) {
  for (size_t begin = 0; begin < flags.names.size(); begin += kNamesPerCall) {
    v1::CancelRunsRequest request;
    request.set_reason(flags.reason);
    const size_t end = std::min(begin + kNamesPerCall, flags.names.size());
    for (size_t i = begin; i < end; ++i) request.add_names(flags.names[i]);
    FT_ASSIGN_OR_RETURN(const v1::CancelRunsResponse response, client.CancelRuns(request));
    all.MergeFrom(response);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<int> CancelRuns(Session& session, const CancelFlags& flags) {
  FT_RETURN_IF_ERROR(session.RequireFormat(
      {OutputFormat::kTable, OutputFormat::kJson, OutputFormat::kJsonl, OutputFormat::kYaml}));
  const size_t count = flags.names.size();
  if (flags.experiment.has_value()) {
    if (count > 0) return UsageError("Runs and --experiment are both given; give one.");
    if (flags.experiment->empty()) return UsageError("--experiment is empty.");
    return CancelExperiment(session, flags);
  }
  if (count == 0) return UsageError("NAME or --experiment is required.", "finetune run list");
  if (count > kMaxNames) {
    return UsageError(absl::StrCat("At most ", kMaxNames, " runs at a time can be canceled."));
  }
  if (count == 1) session.set_run(flags.names[0]);
  FT_ASSIGN_OR_RETURN(Client* const client, session.GetClient());
  if (flags.dry_run) return Preview(session, *client, flags);
  if (!flags.yes && count > 1) {
    FT_RETURN_IF_ERROR(Confirm(
        session, flags.names,
        {absl::StrCat("Cancel these ", count, " runs for good?"), "Nothing was canceled."}));
  }
  v1::CancelRunsResponse all;
  const absl::Status status = Cancel(*client, flags, all);
  if (!status.ok()) {
    if (all.results_size() > 0) PrintCancelResults(session, all);
    return status;
  }
  const absl::Status first_error = FirstError(all);
  // One name that is not there is an error like any other, with what may have been meant.
  if (!first_error.ok() && count == 1 && session.format() == OutputFormat::kTable) {
    return first_error;
  }
  PrintCancelResults(session, all);
  return ExitCodeOf(first_error);
}

}  // namespace finetuned::cli
