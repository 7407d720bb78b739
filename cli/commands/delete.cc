#include <ostream>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "cli/commands/commands.h"
#include "cli/confirm.h"
#include "cli/errors.h"
#include "cli/print_json.h"
#include "cli/run_text.h"
#include "cli/table.h"

namespace finetuned::cli {
namespace {

using Json = nlohmann::ordered_json;

// Each is a call or two of its own.
constexpr size_t kMaxNames = 10000;

absl::Status Find(Client& client, const std::string& name) {
  v1::GetRunRequest request;
  request.set_name(name);
  return client.GetRun(request).status();
}

// A try whose answer was lost may have deleted the run, and the next one does not find it. Only a
// run that was there before and is gone now counts as deleted: one that was never there is a wrong
// name, and one that is there still belongs to somebody else who shares it.
absl::Status DeleteOne(Client& client, const std::string& name) {
  FT_RETURN_IF_ERROR(Find(client, name));
  v1::DeleteRunRequest request;
  request.set_name(name);
  bool repeated = false;
  const absl::Status status = client.DeleteRun(request, &repeated);
  if (!repeated || !absl::IsNotFound(status)) return status;
  const absl::Status found = Find(client, name);
  if (absl::IsNotFound(found)) return absl::OkStatus();
  return found.ok() ? status : found;
}

// Whether an error is about this run alone, so that the others may be tried.
bool IsAboutTheRun(const absl::Status& status) {
  return absl::IsNotFound(status) || absl::IsFailedPrecondition(status) ||
         absl::IsAborted(status) ||
         (absl::IsInvalidArgument(status) && !Violations(status).empty());
}

// In the form of a result of CancelRuns.
Json ResultJson(const std::string& name, const absl::Status& status) {
  return {{"name", name},
          {"outcome", status.ok() ? "DELETED" : "OUTCOME_UNSPECIFIED"},
          {"status", Json::parse(ToJson(ToProto(status), false), nullptr, false)}};
}

void Print(Session& session, const std::vector<std::pair<std::string, absl::Status>>& results) {
  if (session.format() == OutputFormat::kTable) {
    if (results.empty()) return;
    Table table({"NAME", "RESULT", "MEANING"});
    for (const auto& [name, status] : results) {
      table.AddRow({ShortName(name),
                    status.ok() ? Cell("DELETED", Style::kYellow)
                                : Cell(absl::StatusCodeToString(status.code()), Style::kRed),
                    status.ok() ? "is in no listing any more" : std::string(status.message())});
    }
    session.io().out << table.Render(session.color());
  } else if (session.format() == OutputFormat::kJsonl) {
    for (const auto& [name, status] : results) PrintJson(session, ResultJson(name, status));
  } else {
    Json list = Json::array();
    for (const auto& [name, status] : results) list.push_back(ResultJson(name, status));
    PrintJson(session, {{"results", list}});
  }
  session.io().out << std::flush;
}

}  // namespace

absl::StatusOr<int> DeleteRuns(Session& session, const DeleteFlags& flags) {
  FT_RETURN_IF_ERROR(session.RequireFormat(
      {OutputFormat::kTable, OutputFormat::kJson, OutputFormat::kJsonl, OutputFormat::kYaml}));
  const size_t count = flags.names.size();
  if (count > kMaxNames) {
    return UsageError(absl::StrCat("At most ", kMaxNames, " runs at a time can be deleted."));
  }
  if (count == 1) session.set_run(flags.names[0]);
  FT_ASSIGN_OR_RETURN(Client* const client, session.GetClient());
  if (!flags.yes && count > 1) {
    FT_RETURN_IF_ERROR(
        Confirm(session, flags.names,
                {absl::StrCat("Delete these ", count, " runs for good?"), "Nothing was deleted."}));
  }
  std::vector<std::pair<std::string, absl::Status>> results;
  absl::Status first_error;
  for (const std::string& name : flags.names) {
    const absl::Status status = DeleteOne(*client, name);
    if (first_error.ok()) first_error = status;
    // One that cannot be deleted is an error like any other, with its advice.
    if (!status.ok() && count == 1 && session.format() == OutputFormat::kTable) return status;
    if (!status.ok() && !IsAboutTheRun(status)) {
      Print(session, results);
      if (count > 1) {
        session.Note(absl::StrCat("Stopped at ", ShortName(name), "; ", results.size(), " of ",
                                  count, " runs were tried before it."));
      }
      return status;
    }
    results.emplace_back(name, status);
  }
  Print(session, results);
  return ExitCodeOf(first_error);
}

}  // namespace finetuned::cli
