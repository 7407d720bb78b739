#include <ostream>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "base/uuid.h"
#include "cli/commands/commands.h"
#include "cli/run_text.h"

namespace finetuned::cli {

absl::StatusOr<int> CreateRun(Session& session, const CreateRunFlags& flags) {
  FT_ASSIGN_OR_RETURN(const v1::CreateRunRequest request,
                      BuildCreateRequest(flags.create, session.io().working_directory,
                                         NewUuid(session.io().clock.Now())));
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
    out << RunPage(*run, session.io().clock.Now(), session.color());
  }
  out << std::flush;
  if (!watch) return 0;
  WatchFlags watch_flags = flags.watch_flags;
  watch_flags.name = run->name();
  return WatchRun(session, watch_flags);
}

}  // namespace finetuned::cli
