#include <ostream>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "base/time.h"
#include "cli/commands/commands.h"
#include "cli/errors.h"
#include "cli/listing.h"
#include "cli/run_text.h"
#include "cli/times.h"

// The runs that wait, and what for.

namespace finetuned::cli {
namespace {

// Why a run waits is found for each with a call of its own.
constexpr int64_t kMaxListed = 1000;

void AddRow(const v1::Run& run, absl::Time now, Listing& listing) {
  const v1::Wait& wait = run.wait();
  listing.AddRow({ShortName(run.name()), Cell(StateName(run.state()), StateStyle(run.state())),
                  v1::Scheduling::Priority_Name(run.spec().scheduling().priority()),
                  PlaceText(wait), FormatAge(now - FromProtoTime(run.create_time())),
                  ComputeText(run.spec().compute()),
                  run.has_wait() ? WaitSentence(wait) : std::string("-"), run.owner(), run.uid()});
}

}  // namespace

absl::StatusOr<int> ShowQueue(Session& session, const QueueFlags& flags) {
  Listing listing({"NAME", "STATE", "PRIORITY", "PLACE", "AGE", "NEEDS", "WHY"}, {"OWNER", "UID"});
  FT_RETURN_IF_ERROR(session.CheckColumns(listing));
  if (flags.limit < 1 || flags.limit > kMaxListed) {
    return UsageError(absl::StrCat("--limit must be from 1 to ", kMaxListed, "."));
  }
  FT_ASSIGN_OR_RETURN(Client* const client, session.GetClient());
  v1::ListRunsRequest request;
  request.add_states(v1::Run::PENDING);
  request.add_states(v1::Run::QUEUED);
  request.set_order_by("create_time");
  request.set_page_size(static_cast<int32_t>(flags.limit));
  FT_ASSIGN_OR_RETURN(v1::ListRunsResponse waiting, client->ListRuns(request));
  v1::ListRunsResponse all;
  for (const v1::Run& run : waiting.runs()) {
    v1::GetRunRequest get;
    get.set_name(run.name());
    absl::StatusOr<v1::Run> now = client->GetRun(get);
    if (absl::IsNotFound(now.status())) continue;
    FT_RETURN_IF_ERROR(now.status());
    // It may have been taken since it was listed.
    if (now->state() != v1::Run::PENDING && now->state() != v1::Run::QUEUED) continue;
    *all.add_runs() = *std::move(now);
  }
  std::ostream& out = session.io().out;
  if (session.format() == OutputFormat::kJsonl) {
    for (const v1::Run& run : all.runs()) session.PrintMessage(run);
  } else if (session.format() == OutputFormat::kName) {
    for (const v1::Run& run : all.runs()) out << ShortName(run.name()) << "\n";
  } else if (!session.PrintMessage(all)) {
    for (const v1::Run& run : all.runs()) AddRow(run, session.io().clock.Now(), listing);
    out << session.RenderListing(listing, session.io().width);
  }
  out << std::flush;
  if (session.is_table() && all.runs_size() == 0) session.Note("No run of yours waits.");
  if (session.is_table() && !waiting.next_page_token().empty()) {
    session.Note("There are more; these came first. Show more with --limit.");
  }
  return kExitOk;
}

}  // namespace finetuned::cli
