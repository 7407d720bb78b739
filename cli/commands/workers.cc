#include <algorithm>
#include <ostream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status.h"
#include "base/time.h"
#include "cli/commands/commands.h"
#include "cli/errors.h"
#include "cli/run_text.h"
#include "cli/sanitize.h"
#include "cli/table.h"
#include "cli/times.h"

// One worker: what it has, what runs on it, and taking it out of use.

namespace finetuned::cli {
namespace {

void PrintWorker(Session& session, const v1::Worker& worker) {
  std::ostream& out = session.io().out;
  if (session.format() == OutputFormat::kName) {
    out << Sanitize(worker.name()) << "\n";
  } else if (!session.PrintMessage(worker)) {
    const absl::Time now = session.io().clock.Now();
    KeyValues page;
    page.Add("Name", worker.name());
    page.Add("State", v1::Worker::State_Name(worker.state()));
    if (worker.state() == v1::Worker::QUARANTINED) {
      const absl::Time end = FromProtoTime(worker.quarantine_end_time());
      page.Add("Quarantine",
               absl::StrCat("It has lost ", worker.loss_count(), " attempts one after the other. ",
                            end > now ? absl::StrCat("It gets none for ", FormatAge(end - now))
                                      : "It gets one at a time until one goes well",
                            ". `finetune worker drain ", Sanitize(worker.name()),
                            " --undo` trusts it again at once."));
    }
    page.Add("Has", ComputeText(worker.capacity()));
    page.Add("Free", ComputeText(worker.free()));
    std::vector<std::string> labels;
    for (const auto& [key, value] : worker.labels()) labels.push_back(key + "=" + value);
    std::sort(labels.begin(), labels.end());
    page.Add("Labels", absl::StrJoin(labels, ", "));
    page.Add("Version", worker.version());
    page.Add("Last heard of", FormatRelative(FromProtoTime(worker.last_seen_time()), now));
    out << page.Render(session.color());
    if (worker.attempts_size() > 0) {
      Table table({"RUN", "ATTEMPT", "STATE", "TAKES", "SINCE"});
      for (const v1::WorkerAttempt& attempt : worker.attempts()) {
        table.AddRow({attempt.run().empty() ? "(of somebody else)" : ShortName(attempt.run()),
                      absl::StrCat(attempt.attempt()), StateName(attempt.state()),
                      ComputeText(attempt.compute()),
                      FormatAge(now - FromProtoTime(attempt.create_time()))});
      }
      out << "\n" << table.Render(session.color());
    } else {
      session.Note("Nothing runs on it.");
    }
  }
  out << std::flush;
}

}  // namespace

absl::StatusOr<int> GetWorker(Session& session, const std::string& name) {
  FT_ASSIGN_OR_RETURN(Client* const client, session.GetClient());
  v1::GetWorkerRequest request;
  request.set_name(name);
  FT_ASSIGN_OR_RETURN(const v1::Worker worker, client->GetWorker(request));
  PrintWorker(session, worker);
  return kExitOk;
}

absl::StatusOr<int> DrainWorker(Session& session, const DrainFlags& flags) {
  if (flags.undo && flags.stop_runs) return UsageError("--stop-runs is not for --undo.");
  FT_ASSIGN_OR_RETURN(Client* const client, session.GetClient());
  v1::DrainWorkerRequest request;
  request.set_name(flags.name);
  request.set_undo(flags.undo);
  request.set_stop_runs(flags.stop_runs);
  FT_ASSIGN_OR_RETURN(const v1::Worker worker, client->DrainWorker(request));
  PrintWorker(session, worker);
  if (flags.undo) {
    session.Note(absl::StrCat("Worker ", worker.name(), " is back in use."));
  } else if (worker.attempts_size() == 0) {
    session.Note(absl::StrCat("Worker ", worker.name(), " is drained: it may be switched off."));
  } else {
    session.Note(
        absl::StrCat("Worker ", worker.name(), " gets nothing new. ",
                     flags.stop_runs ? "Its runs are being stopped" : "Its runs go on to their end",
                     "; see: finetune worker get ", worker.name()));
  }
  return kExitOk;
}

}  // namespace finetuned::cli
