#include <map>
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

constexpr int kPageSize = 1000;
// Of the runs that are shown before they are stopped.
constexpr int kMaxListed = 10000;

constexpr char kNoneFound[] = "No active runs found to cancel.";

// The runs of the experiment that are not terminal, oldest first, as far as the caller sees them.
absl::StatusOr<std::vector<v1::Run>> FindTargets(Client& client, const std::string& experiment) {
  v1::ListRunsRequest request;
  request.set_experiment(experiment);
  request.set_page_size(kPageSize);
  request.set_order_by("create_time");
  for (const v1::Run::State state : {v1::Run::PENDING, v1::Run::QUEUED, v1::Run::STARTING,
                                     v1::Run::RUNNING, v1::Run::TERMINATING, v1::Run::PAUSED}) {
    request.add_states(state);
  }
  std::vector<v1::Run> targets;
  do {
    FT_ASSIGN_OR_RETURN(v1::ListRunsResponse page, client.ListRuns(request));
    for (v1::Run& run : *page.mutable_runs()) targets.push_back(std::move(run));
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty() && targets.size() < kMaxListed);
  // A listing of an experiment that is not there is empty too.
  if (targets.empty()) {
    v1::GetExperimentRequest get;
    get.set_name(experiment);
    FT_RETURN_IF_ERROR(client.GetExperiment(get).status());
  }
  return targets;
}

// One line for each. Runs of others, which a workspace may share, are stopped only for an admin;
// which role the token has, the API does not say.
std::vector<std::string> Lines(Client& client, const std::vector<v1::Run>& runs) {
  const absl::StatusOr<v1::Quota> quota = client.GetQuota(v1::GetQuotaRequest());
  std::vector<std::string> lines;
  for (const v1::Run& run : runs) {
    lines.push_back(
        absl::StrCat(ShortName(run.name()), "  would be stopped; it is ", StateName(run.state())));
    if (quota.ok() && run.owner() != quota->owner()) {
      absl::StrAppend(&lines.back(), " and belongs to ", run.owner(),
                      ", so only an admin stops it");
    }
  }
  return lines;
}

void Preview(Session& session, const std::vector<std::string>& lines) {
  for (const std::string& line : lines) session.io().out << Sanitize(line) << "\n";
  session.io().out << std::flush;
  if (lines.empty()) session.Note(kNoneFound);
  session.Note("Nothing was changed (--dry-run).");
}

// The results of all calls, each run once.
class Results {
 public:
  // Returns whether there was a run that was not there before.
  bool Add(const v1::CancelRunsResponse& response) {
    bool any_new = false;
    for (const auto& result : response.results()) {
      const auto [at, is_new] = index_.emplace(result.name(), all_.results_size());
      *(is_new ? all_.add_results() : all_.mutable_results(at->second)) = result;
      any_new = any_new || is_new;
    }
    all_.set_more(response.more());
    return any_new;
  }
  const v1::CancelRunsResponse& all() const { return all_; }

 private:
  v1::CancelRunsResponse all_;
  std::map<std::string, int> index_;
};

// Calls until nothing is left. `in_doubt` when a call was repeated: runs that a try stopped whose
// answer was lost are in no result.
absl::Status CancelAll(Client& client, const CancelFlags& flags, Results& results, bool& in_doubt) {
  v1::CancelRunsRequest request;
  request.set_experiment(*flags.experiment);
  request.set_reason(flags.reason);
  for (;;) {
    bool repeated = false;
    const absl::StatusOr<v1::CancelRunsResponse> response = client.CancelRuns(request, &repeated);
    in_doubt = in_doubt || repeated;
    FT_RETURN_IF_ERROR(response.status());
    const bool any_new = results.Add(*response);
    if (!response->more()) return absl::OkStatus();
    // Would go on for ever.
    if (!any_new) {
      return LocalError(absl::StatusCode::kAborted,
                        "The experiment has more runs, and the server does not come to them.",
                        "It answers with the same runs again, which are still being stopped.",
                        "the same command once these are STOPPED");
    }
  }
}

}  // namespace

absl::StatusOr<int> CancelExperiment(Session& session, const CancelFlags& flags) {
  session.set_experiment(*flags.experiment);
  FT_ASSIGN_OR_RETURN(Client* const client, session.GetClient());
  const bool ask = !flags.yes && session.io().in_is_terminal;
  if (flags.dry_run || ask) {
    FT_ASSIGN_OR_RETURN(const std::vector<v1::Run> targets,
                        FindTargets(*client, *flags.experiment));
    const std::vector<std::string> lines = Lines(*client, targets);
    if (flags.dry_run) {
      Preview(session, lines);
      return kExitOk;
    }
    if (targets.empty()) {
      PrintCancelResults(session, v1::CancelRunsResponse());
      session.Note(kNoneFound);
      return kExitOk;
    }
    FT_RETURN_IF_ERROR(
        Confirm(session, lines,
                {absl::StrCat("Cancel ", targets.size() == 1 ? "this run" : "these runs",
                              " of experiment ", Sanitize(*flags.experiment), " for good?"),
                 "Nothing was canceled."}));
  }
  Results results;
  bool in_doubt = false;
  const absl::Status status = CancelAll(*client, flags, results, in_doubt);
  const bool any = results.all().results_size() > 0;
  if (status.ok() || any) PrintCancelResults(session, results.all());
  if (in_doubt && status.ok()) {
    session.Note(
        absl::StrCat("An answer was lost; runs may have been canceled that are not named "
                     "here. See: finetune run list --experiment ",
                     ShellWord(*flags.experiment)));
  } else if (status.ok() && !any) {
    session.Note(kNoneFound);
  }
  FT_RETURN_IF_ERROR(status);
  return ExitCodeOf(FirstError(results.all()));
}

}  // namespace finetuned::cli
