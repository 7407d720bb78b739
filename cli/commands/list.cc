#include <algorithm>
#include <map>
#include <ostream>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "base/time.h"
#include "cli/commands/commands.h"
#include "cli/errors.h"
#include "cli/flag_values.h"
#include "cli/follow.h"
#include "cli/listing.h"
#include "cli/live_view.h"
#include "cli/run_text.h"
#include "cli/times.h"

// Runs in a list, once or again and again.

namespace finetuned::cli {
namespace {

constexpr int64_t kPageSize = 1000;
constexpr int64_t kMaxListed = 1000000;
// The API has no stream of a listing, so it is asked again.
constexpr absl::Duration kWatchInterval = absl::Seconds(2);

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

// One answer, as if the whole listing were one page.
absl::StatusOr<v1::ListRunsResponse> FetchRuns(Client& client, v1::ListRunsRequest request,
                                               int64_t limit) {
  v1::ListRunsResponse all;
  do {
    request.set_page_size(
        static_cast<int32_t>(std::min<int64_t>(kPageSize, limit - all.runs_size())));
    request.set_page_token(all.next_page_token());
    FT_ASSIGN_OR_RETURN(v1::ListRunsResponse page, client.ListRuns(request));
    all.set_next_page_token(page.next_page_token());
    for (v1::Run& run : *page.mutable_runs()) *all.add_runs() = std::move(run);
  } while (!all.next_page_token().empty() && all.runs_size() < limit);
  return all;
}

Listing EmptyListing() {
  return Listing(
      {"NAME", "STATE", "MODEL", "PROGRESS", "AGE", "ATTEMPT", "OWNER"},
      {"TASK", "PRIORITY", "EXPERIMENT", "WORKER", "CREATED", "STARTED", "ENDED", "UID", "REASON"});
}

std::string TimeCell(bool has, const google::protobuf::Timestamp& time) {
  return has ? FormatUtc(FromProtoTime(time)) : "-";
}

std::string OrDash(const std::string& text) { return text.empty() ? "-" : text; }

void AddRow(const v1::Run& run, absl::Time now, Listing& listing) {
  const v1::RunSpec& spec = run.spec();
  listing.AddRow(
      {ShortName(run.name()), Cell(StateName(run.state()), StateStyle(run.state())), spec.model(),
       OrDash(ProgressText(run, now)), FormatAge(now - FromProtoTime(run.create_time())),
       absl::StrCat(run.attempt()), run.owner(), v1::RunSpec::TaskType_Name(spec.task_type()),
       v1::Scheduling::Priority_Name(spec.scheduling().priority()), OrDash(spec.experiment_path()),
       OrDash(run.worker()), TimeCell(run.has_create_time(), run.create_time()),
       TimeCell(run.has_start_time(), run.start_time()),
       TimeCell(run.has_end_time(), run.end_time()), OrDash(run.uid()),
       OrDash(run.state_reason())});
}

// What is said about the listing beside it.
std::string ListNote(const v1::ListRunsResponse& all, const ListFlags& flags) {
  if (all.runs_size() == 0) {
    return HasFilter(flags) ? "No runs are like that; leave out a filter to see more."
                            : "No runs. Create one: finetune run create --help";
  }
  if (all.next_page_token().empty()) return "";
  return absl::StrCat("There are more; these are the ", flags.oldest_first ? "oldest " : "newest ",
                      all.runs_size(), ". Show more with --limit.");
}

// The same listing again and again: drawn in place on a terminal, else what has changed.
class ListWatcher {
 public:
  explicit ListWatcher(Session& session) : session_(session), view_(session.io().height) {}

  void Show(const v1::ListRunsResponse& all, const std::string& note) {
    const Io& io = session_.io();
    const absl::Time now = io.clock.Now();
    if (io.out_is_terminal && session_.is_table()) {
      Listing listing = EmptyListing();
      for (const v1::Run& run : all.runs()) AddRow(run, now, listing);
      std::string text = session_.RenderListing(listing, io.width);
      if (!note.empty()) absl::StrAppend(&text, note, "\n");
      io.out << view_.Draw(text) << std::flush;
      return;
    }
    std::map<std::string, std::string> lines;
    for (const v1::Run& run : all.runs()) {
      const std::string name = ShortName(run.name());
      const std::string progress = ProgressText(run, now, /*with_eta=*/false);
      lines[name] = absl::StrCat(StateName(run.state()), progress.empty() ? "" : "  ", progress);
      if (const auto seen = seen_.find(name); seen != seen_.end() && seen->second == lines[name]) {
        continue;
      }
      if (!session_.PrintMessage(run)) Line(now, name, lines[name]);
    }
    for (const auto& [name, line] : seen_) {
      if (lines.count(name) == 0 && session_.is_table()) Line(now, name, "no longer listed");
    }
    seen_ = std::move(lines);
    io.out << std::flush;
  }

 private:
  void Line(absl::Time now, const std::string& name, const std::string& text) {
    session_.io().out << FormatUtc(now) << "  " << name << "  " << text << "\n";
  }

  Session& session_;
  LiveView view_;
  // What was said of each run.
  std::map<std::string, std::string> seen_;
};

// Until Ctrl-C.
absl::Status WatchList(Session& session, Client& client, const v1::ListRunsRequest& request,
                       const ListFlags& flags) {
  Io& io = session.io();
  ListWatcher watcher(session);
  std::optional<absl::Duration> lost;
  for (bool first = true;; first = false) {
    const auto all = FetchRuns(client, request, flags.limit);
    if (io.interrupt.requested()) return InterruptedError();
    const bool away = absl::IsUnavailable(all.status()) || absl::IsDeadlineExceeded(all.status());
    if (all.ok()) {
      lost.reset();
      watcher.Show(*all, ListNote(*all, flags));
    } else if (first || !away) {
      return all.status();
    } else if (!lost) {
      lost = io.clock.SinceBoot();
      session.Note("Lost the server; asking again ...");
    } else if (io.clock.SinceBoot() - *lost >= kOutageLimit) {
      return all.status();
    }
    io.pause(kWatchInterval);
    if (io.interrupt.requested()) return InterruptedError();
  }
}

}  // namespace

absl::StatusOr<int> ListRuns(Session& session, const ListFlags& flags) {
  const absl::Time now = session.io().clock.Now();
  v1::ListRunsRequest request;
  FT_RETURN_IF_ERROR(FillListRequest(flags, now, request));
  Listing listing = EmptyListing();
  FT_RETURN_IF_ERROR(session.CheckColumns(listing));
  if (flags.watch) {
    FT_RETURN_IF_ERROR(
        session.RequireFormat({OutputFormat::kTable, OutputFormat::kWide, OutputFormat::kJsonl}));
  }
  FT_ASSIGN_OR_RETURN(Client* const client, session.GetClient());
  if (flags.watch) return WatchList(session, *client, request, flags);
  FT_ASSIGN_OR_RETURN(const v1::ListRunsResponse all, FetchRuns(*client, request, flags.limit));

  std::ostream& out = session.io().out;
  if (session.format() == OutputFormat::kJsonl) {
    for (const v1::Run& run : all.runs()) session.PrintMessage(run);
  } else if (session.format() == OutputFormat::kName) {
    for (const v1::Run& run : all.runs()) out << ShortName(run.name()) << "\n";
  } else if (!session.PrintMessage(all)) {
    for (const v1::Run& run : all.runs()) AddRow(run, now, listing);
    out << session.RenderListing(listing, session.io().width);
  }
  out << std::flush;
  const std::string note = ListNote(all, flags);
  if (session.is_table() && !note.empty()) session.Note(note);
  return kExitOk;
}

}  // namespace finetuned::cli
