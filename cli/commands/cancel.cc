#include <unistd.h>

#include <algorithm>
#include <istream>
#include <ostream>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "cli/commands/commands.h"
#include "cli/errors.h"
#include "cli/run_text.h"
#include "cli/sanitize.h"
#include "cli/table.h"

namespace finetuned::cli {
namespace {

// The most that one call takes.
constexpr size_t kNamesPerCall = 100;
constexpr size_t kMaxNames = 10000;

// What the person reads beside the name.
Cell OutcomeCell(const v1::CancelRunsResponse::Result& result) {
  switch (result.outcome()) {
    case v1::CancelRunsResponse::Result::STOPPED: return Cell("STOPPED", Style::kYellow);
    case v1::CancelRunsResponse::Result::STOPPING: return Cell("STOPPING", Style::kYellow);
    case v1::CancelRunsResponse::Result::ALREADY_TERMINAL: return Cell("ALREADY_TERMINAL");
    default:
      return Cell(absl::StatusCodeToString(static_cast<absl::StatusCode>(result.status().code())),
                  Style::kRed);
  }
}

std::string OutcomeSentence(const v1::CancelRunsResponse::Result& result) {
  switch (result.outcome()) {
    case v1::CancelRunsResponse::Result::STOPPED: return "is stopped";
    case v1::CancelRunsResponse::Result::STOPPING:
      return "stops when its worker has ended the trainer";
    case v1::CancelRunsResponse::Result::ALREADY_TERMINAL:
      return absl::StrCat("was ", StateName(result.run().state()), " already; nothing was changed");
    default: return result.status().message();
  }
}

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

// Asks a person; a script has decided already.
absl::Status Confirm(Session& session, const CancelFlags& flags) {
  Io& io = session.io();
  if (flags.yes || flags.names.size() < 2 || !io.in_is_terminal) return absl::OkStatus();
  for (const std::string& name : flags.names) io.err << "  " << Sanitize(name) << "\n";
  io.err << "Cancel these " << flags.names.size() << " runs for good? [y/N] " << std::flush;
  std::string answer;
  // A read of the terminal cannot be ended from another thread; nothing has been begun that would
  // need tidying.
  const Interrupt::Scope scope(io.interrupt, [] { _exit(kExitInterrupted); });
  std::getline(io.in, answer);
  answer = absl::AsciiStrToLower(answer);
  if (answer == "y" || answer == "yes") return absl::OkStatus();
  return LocalError(absl::StatusCode::kCancelled, "Nothing was canceled.", "",
                    "the same command with --yes");
}

}  // namespace

absl::StatusOr<int> CancelRuns(Session& session, const CancelFlags& flags) {
  FT_RETURN_IF_ERROR(session.RequireFormat(
      {OutputFormat::kTable, OutputFormat::kJson, OutputFormat::kJsonl, OutputFormat::kYaml}));
  if (flags.names.size() > kMaxNames) {
    return UsageError(absl::StrCat("At most ", kMaxNames, " runs at a time can be canceled."));
  }
  if (flags.names.size() == 1) session.set_run(flags.names[0]);
  FT_ASSIGN_OR_RETURN(Client* const client, session.GetClient());
  if (flags.dry_run) return Preview(session, *client, flags);
  FT_RETURN_IF_ERROR(Confirm(session, flags));

  v1::CancelRunsResponse all;
  for (size_t begin = 0; begin < flags.names.size(); begin += kNamesPerCall) {
    v1::CancelRunsRequest request;
    request.set_reason(flags.reason);
    const size_t end = std::min(begin + kNamesPerCall, flags.names.size());
    for (size_t i = begin; i < end; ++i) request.add_names(flags.names[i]);
    FT_ASSIGN_OR_RETURN(const v1::CancelRunsResponse response, client->CancelRuns(request));
    all.MergeFrom(response);
  }
  absl::Status first_error;
  for (const auto& result : all.results()) {
    if (first_error.ok()) first_error = FromProto(result.status());
  }
  // One name that is not there is an error like any other, with what may have been meant.
  if (!first_error.ok() && flags.names.size() == 1 && session.format() == OutputFormat::kTable) {
    return first_error;
  }
  if (session.format() == OutputFormat::kJsonl) {
    for (const auto& result : all.results()) session.PrintMessage(result);
  } else if (!session.PrintMessage(all)) {
    Table table({"NAME", "RESULT", "MEANING"});
    for (const auto& result : all.results()) {
      table.AddRow({ShortName(result.name()), OutcomeCell(result), OutcomeSentence(result)});
    }
    session.io().out << table.Render(session.color());
  }
  session.io().out << std::flush;
  return ExitCodeOf(first_error);
}

}  // namespace finetuned::cli
