#include <algorithm>
#include <ostream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status.h"
#include "base/time.h"
#include "cli/commands/commands.h"
#include "cli/errors.h"
#include "cli/listing.h"
#include "cli/run_text.h"
#include "cli/times.h"
#include "cli/units.h"

// Commands that show what a run has left: events and checkpoints.

namespace finetuned::cli {
namespace {

constexpr int64_t kPageSize = 1000;
constexpr int64_t kMaxListed = 1000000;

// What an attempt cost: `1.5 GPU h` of its GPUs, or `3 CPU h` where it had none.
std::string CostCell(const v1::Attempt& attempt) {
  const v1::Compute& compute = attempt.compute();
  const bool gpus = compute.gpus() > 0;
  const double hours = absl::ToDoubleHours(FromProtoDuration(attempt.held_duration())) *
                       (gpus ? compute.gpus() : std::max(1, compute.cpus()));
  return absl::StrFormat("%.3g %s h", hours, gpus ? "GPU" : "CPU");
}

}  // namespace

absl::StatusOr<int> ListAttempts(Session& session, const std::string& name) {
  FT_RETURN_IF_ERROR(
      session.RequireFormat({OutputFormat::kTable, OutputFormat::kWide, OutputFormat::kCsv,
                             OutputFormat::kJson, OutputFormat::kJsonl, OutputFormat::kYaml}));
  Listing listing({"ATTEMPT", "WORKER", "AGE", "HELD", "COST", "CHECKPOINT", "END"},
                  {"CREATED", "STARTED", "ENDED"});
  FT_RETURN_IF_ERROR(session.CheckColumns(listing));
  session.set_run(name);
  FT_ASSIGN_OR_RETURN(Client* const client, session.GetClient());
  v1::ListAttemptsRequest request;
  request.set_name(name);
  FT_ASSIGN_OR_RETURN(const v1::ListAttemptsResponse response, client->ListAttempts(request));
  if (session.format() == OutputFormat::kJsonl) {
    for (const v1::Attempt& attempt : response.attempts()) session.PrintMessage(attempt);
  } else if (!session.PrintMessage(response)) {
    const absl::Time now = session.io().clock.Now();
    const auto time = [](bool has, const google::protobuf::Timestamp& at) {
      return has ? FormatUtc(FromProtoTime(at)) : std::string("-");
    };
    for (const v1::Attempt& attempt : response.attempts()) {
      listing.AddRow({absl::StrCat(attempt.attempt()), attempt.worker(),
                      FormatAge(now - FromProtoTime(attempt.create_time())),
                      FormatAge(FromProtoDuration(attempt.held_duration())), CostCell(attempt),
                      attempt.checkpoint().empty() ? "-" : attempt.checkpoint(),
                      !attempt.has_end_time()        ? "-"
                      : attempt.end_reason().empty() ? "ended"
                                                     : attempt.end_reason(),
                      time(true, attempt.create_time()),
                      time(attempt.has_start_time(), attempt.start_time()),
                      time(attempt.has_end_time(), attempt.end_time())});
    }
    session.io().out << session.RenderListing(listing, session.io().width);
  }
  session.io().out << std::flush;
  if (session.is_table() && response.attempts_size() == 0) {
    session.Note("No worker has had the run yet; `finetune queue` says what it waits for.");
  }
  return kExitOk;
}

absl::StatusOr<int> ListEvents(Session& session, const EventsFlags& flags) {
  FT_RETURN_IF_ERROR(
      session.RequireFormat({OutputFormat::kTable, OutputFormat::kWide, OutputFormat::kCsv,
                             OutputFormat::kJson, OutputFormat::kJsonl, OutputFormat::kYaml}));
  Listing listing({"SEQ", "TIME", "ATTEMPT", "TYPE", "MESSAGE"});
  FT_RETURN_IF_ERROR(session.CheckColumns(listing));
  if (flags.after_seq < 0 || flags.limit < 0) {
    return UsageError("--after and --limit must not be negative.");
  }
  session.set_run(flags.name);
  FT_ASSIGN_OR_RETURN(Client* const client, session.GetClient());
  const int64_t limit = flags.limit == 0 ? kMaxListed : std::min(flags.limit, kMaxListed);
  v1::ListRunEventsRequest request;
  request.set_name(flags.name);
  request.set_after_seq(flags.after_seq);
  v1::ListRunEventsResponse all;
  for (;;) {
    request.set_page_size(
        static_cast<int32_t>(std::min<int64_t>(kPageSize, limit - all.events_size())));
    FT_ASSIGN_OR_RETURN(v1::ListRunEventsResponse page, client->ListRunEvents(request));
    all.set_last_seq(page.last_seq());
    if (page.events_size() == 0) break;
    request.set_after_seq(page.events(page.events_size() - 1).seq());
    for (v1::RunEvent& event : *page.mutable_events()) *all.add_events() = std::move(event);
    if (request.after_seq() >= all.last_seq() || all.events_size() >= limit) break;
  }
  std::ostream& out = session.io().out;
  if (session.format() == OutputFormat::kJsonl) {
    for (const v1::RunEvent& event : all.events()) session.PrintMessage(event);
  } else if (!session.PrintMessage(all)) {
    for (const v1::RunEvent& event : all.events()) {
      listing.AddRow({absl::StrCat(event.seq()), FormatUtc(FromProtoTime(event.event_time())),
                      event.attempt() == 0 ? "-" : absl::StrCat(event.attempt()),
                      Cell(EventTypeName(event.type()), EventStyle(event.type())),
                      event.message()});
    }
    out << session.RenderListing(listing, session.io().width);
  }
  out << std::flush;
  return 0;
}

absl::StatusOr<int> ListCheckpoints(Session& session, const std::string& name) {
  Listing listing({"NAME", "STEP", "SIZE", "AGE", "PATH", "HUGGINGFACE PATH"},
                  {"TOKENS", "ATTEMPT", "CREATED", "MANIFEST SHA-256"});
  FT_RETURN_IF_ERROR(session.CheckColumns(listing));
  session.set_run(name);
  FT_ASSIGN_OR_RETURN(Client* const client, session.GetClient());
  v1::ListCheckpointsRequest request;
  request.set_name(name);
  FT_ASSIGN_OR_RETURN(const v1::ListCheckpointsResponse response, client->ListCheckpoints(request));
  std::ostream& out = session.io().out;
  if (session.format() == OutputFormat::kJsonl) {
    for (const v1::Checkpoint& checkpoint : response.checkpoints()) {
      session.PrintMessage(checkpoint);
    }
  } else if (session.format() == OutputFormat::kName) {
    for (const v1::Checkpoint& checkpoint : response.checkpoints()) {
      out << ShortName(checkpoint.name()) << "\n";
    }
  } else if (!session.PrintMessage(response)) {
    const absl::Time now = session.io().clock.Now();
    for (const v1::Checkpoint& checkpoint : response.checkpoints()) {
      listing.AddRow(
          {checkpoint.name(), absl::StrCat(checkpoint.step()), FormatBytes(checkpoint.size_bytes()),
           FormatAge(now - FromProtoTime(checkpoint.create_time())), checkpoint.path(),
           checkpoint.huggingface_path(), absl::StrCat(checkpoint.tokens()),
           absl::StrCat(checkpoint.attempt()), FormatUtc(FromProtoTime(checkpoint.create_time())),
           checkpoint.manifest_sha256()});
    }
    // Never cut: paths are there to be copied.
    out << session.RenderListing(listing);
  }
  out << std::flush;
  if (session.is_table() && response.checkpoints_size() == 0) {
    session.Note("No checkpoint has been saved yet; ask again after a CHECKPOINT_SAVED event.");
  }
  return 0;
}

}  // namespace finetuned::cli
