#include <ostream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "base/uuid.h"
#include "cli/commands/commands.h"
#include "cli/errors.h"
#include "cli/run_file.h"
#include "cli/run_text.h"

namespace finetuned::cli {

namespace {

constexpr char kCreateHelp[] = "finetune run create --help";

// Without these no server can answer anything else than that they are missing.
absl::Status CheckComplete(const v1::CreateRunRequest& request, const std::string& file) {
  const v1::RunSpec& spec = request.run().spec();
  if (!spec.model().empty() && !spec.train_data_path().empty()) return absl::OkStatus();
  const bool model = spec.model().empty();
  const char* flag = model ? "--model" : "--train-data";
  if (file.empty()) return UsageError(absl::StrCat(flag, " is required."), kCreateHelp);
  return UsageError(
      absl::StrCat(file == "-" ? "Standard input" : file, " has no `",
                   model ? "model" : "train_data_path", "`, and ", flag, " is not given."),
      kCreateHelp);
}

// The spec of a run for another one. What the server has made of the run's own name is left out,
// so that it is made of the new one's.
v1::CreateRunRequest RequestLike(const v1::Run& run) {
  v1::CreateRunRequest request;
  *request.mutable_run()->mutable_spec() = run.spec();
  *request.mutable_run()->mutable_labels() = run.labels();
  v1::RunSpec& spec = *request.mutable_run()->mutable_spec();
  const std::string name = run.name().substr(run.name().rfind('/') + 1);
  if (spec.experiment_path() == absl::StrCat("/Users/", run.owner(), "/", name)) {
    spec.clear_experiment_path();
  }
  const std::string model = absl::StrCat(".", name);
  if (absl::EndsWith(spec.register_to(), model)) {
    spec.set_register_to(spec.register_to().substr(0, spec.register_to().size() - model.size()));
  }
  return request;
}

absl::StatusOr<int> Submit(Session& session, const CreateRunFlags& flags,
                           const v1::CreateRunRequest& request) {
  FT_ASSIGN_OR_RETURN(Client* const client, session.GetClient());
  absl::StatusOr<v1::Run> run = client->CreateRun(request);
  if (!run.ok()) {
    const bool in_doubt = absl::IsUnavailable(run.status()) ||
                          absl::IsDeadlineExceeded(run.status()) ||
                          session.io().interrupt.requested();
    if (in_doubt && !request.validate_only()) {
      session.Note(
          absl::StrCat("The run may have been created all the same. To find out without "
                       "creating a second one, repeat the command with --request-id ",
                       request.request_id()));
    }
    return run.status();
  }
  const std::string name = ShortName(run->name());
  if (request.validate_only()) {
    session.Note("Everything is in order; nothing was stored (--validate-only).");
  }
  const bool watch = flags.watch && !request.validate_only();
  std::ostream& out = session.io().out;
  if (session.format() == OutputFormat::kName) {
    out << name << "\n";
  } else if (session.format() == OutputFormat::kTable && watch) {
    session.Note(absl::StrCat("Run ", name, " created."));
  } else if (!session.PrintMessage(*run)) {
    v1::GetRunRequest get;
    get.set_name(run->name());
    // Why it waits is not known to the answer of a create.
    const auto now = request.validate_only() ? run : client->GetRun(get);
    out << RunPage(now.ok() ? *now : *run, session.io().clock.Now(), session.color());
  }
  out << std::flush;
  if (!watch) return 0;
  WatchFlags watch_flags = flags.watch_flags;
  watch_flags.name = run->name();
  return WatchRun(session, watch_flags);
}

}  // namespace

absl::StatusOr<int> CreateRun(Session& session, const CreateRunFlags& flags) {
  RunFile file;
  if (!flags.file.empty()) {
    FT_ASSIGN_OR_RETURN(file, ReadRunFile(flags.file, session.io()));
  }
  FT_ASSIGN_OR_RETURN(const v1::CreateRunRequest request,
                      BuildCreateRequest(flags.create, session.io().working_directory,
                                         NewUuid(session.io().clock.Now()), file.request));
  FT_RETURN_IF_ERROR(CheckComplete(request, flags.file));
  for (const std::string& note : file.notes) session.Note("note: " + note);
  return Submit(session, flags, request);
}

absl::StatusOr<int> CloneRun(Session& session, const CreateRunFlags& flags) {
  session.set_run(flags.source);
  FT_ASSIGN_OR_RETURN(Client* const client, session.GetClient());
  // Before anything is asked: a flag that cannot be read.
  FT_RETURN_IF_ERROR(BuildCreateRequest(flags.create, session.io().working_directory, "").status());
  v1::GetRunRequest get;
  get.set_name(flags.source);
  FT_ASSIGN_OR_RETURN(const v1::Run source, client->GetRun(get));
  // What goes wrong from here on is not about that run.
  session.set_run("");
  FT_ASSIGN_OR_RETURN(const v1::CreateRunRequest request,
                      BuildCreateRequest(flags.create, session.io().working_directory,
                                         NewUuid(session.io().clock.Now()), RequestLike(source)));
  return Submit(session, flags, request);
}

}  // namespace finetuned::cli
