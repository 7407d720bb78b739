#include "base/status.h"
#include "cli/commands/commands.h"
#include "cli/errors.h"
#include "cli/run_text.h"

namespace finetuned::cli {
namespace {

// A try whose answer was lost may have resumed the run, and then the next one finds it not paused.
absl::StatusOr<v1::Run> Resume(Session& session, Client& client, const std::string& name) {
  v1::ResumeRunRequest request;
  request.set_name(name);
  bool repeated = false;
  absl::StatusOr<v1::Run> run = client.ResumeRun(request, &repeated);
  if (!repeated || ErrorReason(run.status()) != "RUN_NOT_PAUSED") return run;
  v1::GetRunRequest get;
  get.set_name(name);
  absl::StatusOr<v1::Run> now = client.GetRun(get);
  if (!now.ok() || now->stop_requested() == v1::PAUSE) return run;
  session.Note("The answer to the first try was lost; the run goes on.");
  return now;
}

}  // namespace

absl::StatusOr<int> PauseRun(Session& session, const PauseFlags& flags) {
  session.set_run(flags.name);
  FT_ASSIGN_OR_RETURN(Client* const client, session.GetClient());
  v1::PauseRunRequest request;
  request.set_name(flags.name);
  request.set_reason(flags.reason);
  FT_ASSIGN_OR_RETURN(const v1::Run run, client->PauseRun(request));
  PrintRun(session, run);
  if (run.state() != v1::Run::PAUSED) {
    session.Note("It is PAUSED once its trainer has saved a checkpoint and ended.");
  }
  return kExitOk;
}

absl::StatusOr<int> ResumeRun(Session& session, const std::string& name) {
  session.set_run(name);
  FT_ASSIGN_OR_RETURN(Client* const client, session.GetClient());
  FT_ASSIGN_OR_RETURN(const v1::Run run, Resume(session, *client, name));
  PrintRun(session, run);
  return kExitOk;
}

}  // namespace finetuned::cli
