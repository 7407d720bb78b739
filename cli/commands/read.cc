#include <algorithm>
#include <ostream>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "base/time.h"
#include "cli/commands/commands.h"
#include "cli/errors.h"
#include "cli/flag_values.h"
#include "cli/run_text.h"
#include "cli/table.h"
#include "cli/times.h"
#include "cli/units.h"

// Commands that show what is stored.

namespace finetuned::cli {
namespace {

constexpr int64_t kPageSize = 1000;
constexpr int64_t kMaxListed = 1000000;

std::string ProgressCell(const v1::Run& run, absl::Time now) {
  if (!run.has_progress()) return "-";
  std::string text = ProgressPercent(run.progress());
  if (run.progress().has_train_loss()) {
    absl::StrAppend(&text, " loss ", FormatLoss(run.progress().train_loss()));
  }
  if (run.has_estimated_end_time() && run.state() == v1::Run::RUNNING) {
    const absl::Duration left = FromProtoTime(run.estimated_end_time()) - now;
    if (left > absl::ZeroDuration()) absl::StrAppend(&text, " ETA ", FormatAge(left));
  }
  return text;
}

absl::Status FillListRequest(const ListFlags& flags, absl::Time now, v1::ListRunsRequest& request) {
  if (flags.limit < 1 || flags.limit > kMaxListed) {
    return UsageError(absl::StrCat("--limit must be from 1 to ", kMaxListed, "."));
  }
  for (const std::string& text : flags.states) {
    FT_ASSIGN_OR_RETURN(const v1::Run::State state, ParseState(text));
    request.add_states(state);
  }
  for (const std::string& name : flags.names) request.add_names(name);
  if (!flags.before.empty()) {
    FT_ASSIGN_OR_RETURN(const absl::Time before, ParseTimePoint(flags.before, now));
    *request.mutable_before() = ToProtoTime(before);
  }
  if (!flags.after.empty()) {
    FT_ASSIGN_OR_RETURN(const absl::Time after, ParseTimePoint(flags.after, now));
    *request.mutable_after() = ToProtoTime(after);
  }
  for (const std::string& user : flags.users) request.add_user_emails(user);
  if (flags.experiment) {
    // Taken for no filter by the server, which would list everything.
    if (flags.experiment->empty()) return UsageError("--experiment is empty.");
    request.set_experiment(*flags.experiment);
  }
  if (flags.source) {
    // As above.
    if (flags.source->empty()) return UsageError("--source is empty.");
    request.set_source_run(*flags.source);
  }
  FT_ASSIGN_OR_RETURN(const auto labels, ParseLabels(flags.labels));
  request.mutable_labels()->insert(labels.begin(), labels.end());
  if (flags.oldest_first) request.set_order_by("create_time");
  return absl::OkStatus();
}

// Whether a run can be missing from the listing because of a flag.
bool HasFilter(const ListFlags& flags) {
  return !flags.states.empty() || !flags.names.empty() || !flags.before.empty() ||
         !flags.after.empty() || !flags.users.empty() || flags.experiment || flags.source ||
         !flags.labels.empty();
}

}  // namespace

absl::StatusOr<int> ListRuns(Session& session, const ListFlags& flags) {
  const absl::Time now = session.io().clock.Now();
  v1::ListRunsRequest request;
  FT_RETURN_IF_ERROR(FillListRequest(flags, now, request));
  FT_ASSIGN_OR_RETURN(Client* const client, session.GetClient());
  // One answer, as if the whole listing were one page.
  v1::ListRunsResponse all;
  do {
    request.set_page_size(
        static_cast<int32_t>(std::min<int64_t>(kPageSize, flags.limit - all.runs_size())));
    request.set_page_token(all.next_page_token());
    FT_ASSIGN_OR_RETURN(v1::ListRunsResponse page, client->ListRuns(request));
    all.set_next_page_token(page.next_page_token());
    for (v1::Run& run : *page.mutable_runs()) *all.add_runs() = std::move(run);
  } while (!all.next_page_token().empty() && all.runs_size() < flags.limit);

  std::ostream& out = session.io().out;
  if (session.format() == OutputFormat::kJsonl) {
    for (const v1::Run& run : all.runs()) session.PrintMessage(run);
  } else if (session.format() == OutputFormat::kName) {
    for (const v1::Run& run : all.runs()) out << ShortName(run.name()) << "\n";
  } else if (!session.PrintMessage(all) && all.runs_size() > 0) {
    Table table({"NAME", "STATE", "MODEL", "PROGRESS", "AGE", "ATTEMPT", "OWNER"});
    for (const v1::Run& run : all.runs()) {
      table.AddRow({ShortName(run.name()), Cell(StateName(run.state()), StateStyle(run.state())),
                    run.spec().model(), ProgressCell(run, now),
                    FormatAge(now - FromProtoTime(run.create_time())), absl::StrCat(run.attempt()),
                    run.owner()});
    }
    out << table.Render(session.color(), session.io().width);
  }
  out << std::flush;
  if (session.format() == OutputFormat::kTable) {
    if (all.runs_size() == 0) {
      session.Note(HasFilter(flags) ? "No runs are like that; leave out a filter to see more."
                                    : "No runs. Create one: finetune run create --help");
    }
    if (!all.next_page_token().empty()) {
      session.Note(absl::StrCat("There are more; these are the ",
                                flags.oldest_first ? "oldest " : "newest ", all.runs_size(),
                                ". Show more with --limit."));
    }
  }
  return 0;
}

void PrintRun(Session& session, const v1::Run& run) {
  std::ostream& out = session.io().out;
  if (session.format() == OutputFormat::kName) {
    out << ShortName(run.name()) << "\n";
  } else if (!session.PrintMessage(run)) {
    out << RunPage(run, session.io().clock.Now(), session.color());
  }
  out << std::flush;
}

absl::StatusOr<int> GetRun(Session& session, const std::string& name) {
  session.set_run(name);
  FT_ASSIGN_OR_RETURN(Client* const client, session.GetClient());
  v1::GetRunRequest request;
  request.set_name(name);
  FT_ASSIGN_OR_RETURN(const v1::Run run, client->GetRun(request));
  PrintRun(session, run);
  return 0;
}

absl::StatusOr<int> ListEvents(Session& session, const EventsFlags& flags) {
  FT_RETURN_IF_ERROR(session.RequireFormat(
      {OutputFormat::kTable, OutputFormat::kJson, OutputFormat::kJsonl, OutputFormat::kYaml}));
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
    Table table({"SEQ", "TIME", "ATTEMPT", "TYPE", "MESSAGE"});
    for (const v1::RunEvent& event : all.events()) {
      table.AddRow({absl::StrCat(event.seq()), FormatUtc(FromProtoTime(event.event_time())),
                    event.attempt() == 0 ? "-" : absl::StrCat(event.attempt()),
                    Cell(EventTypeName(event.type()), EventStyle(event.type())), event.message()});
    }
    out << table.Render(session.color(), session.io().width);
  }
  out << std::flush;
  return 0;
}

absl::StatusOr<int> ListCheckpoints(Session& session, const std::string& name) {
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
  } else if (!session.PrintMessage(response) && response.checkpoints_size() > 0) {
    const absl::Time now = session.io().clock.Now();
    Table table({"NAME", "STEP", "SIZE", "AGE", "PATH", "HUGGINGFACE PATH"});
    for (const v1::Checkpoint& checkpoint : response.checkpoints()) {
      table.AddRow({checkpoint.name(), absl::StrCat(checkpoint.step()),
                    FormatBytes(checkpoint.size_bytes()),
                    FormatAge(now - FromProtoTime(checkpoint.create_time())), checkpoint.path(),
                    checkpoint.huggingface_path()});
    }
    // Never cut: paths are there to be copied.
    out << table.Render(session.color());
  }
  out << std::flush;
  if (session.format() == OutputFormat::kTable && response.checkpoints_size() == 0) {
    session.Note("No checkpoint has been saved yet; ask again after a CHECKPOINT_SAVED event.");
  }
  return 0;
}

}  // namespace finetuned::cli
