#include "cli/cancel_results.h"

#include <ostream>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "cli/run_text.h"
#include "cli/table.h"

namespace finetuned::cli {
namespace {

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

}  // namespace

void PrintCancelResults(Session& session, const v1::CancelRunsResponse& response) {
  if (session.format() == OutputFormat::kJsonl) {
    for (const auto& result : response.results()) session.PrintMessage(result);
  } else if (!session.PrintMessage(response) && response.results_size() > 0) {
    Table table({"NAME", "RESULT", "MEANING"});
    for (const auto& result : response.results()) {
      table.AddRow({ShortName(result.name()), OutcomeCell(result), OutcomeSentence(result)});
    }
    session.io().out << table.Render(session.color());
  }
  session.io().out << std::flush;
}

absl::Status FirstError(const v1::CancelRunsResponse& response) {
  for (const auto& result : response.results()) {
    if (result.status().code() != 0) return FromProto(result.status());
  }
  return absl::OkStatus();
}

}  // namespace finetuned::cli
