#include <algorithm>
#include <ostream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status.h"
#include "base/time.h"
#include "cli/commands/commands.h"
#include "cli/errors.h"
#include "cli/listing.h"
#include "cli/run_text.h"
#include "cli/sanitize.h"
#include "cli/table.h"
#include "cli/times.h"

namespace finetuned::cli {
namespace {

constexpr int64_t kPageSize = 1000;
constexpr int64_t kMaxListed = 1000000;

std::string TimeText(const google::protobuf::Timestamp& proto, absl::Time now) {
  const absl::Time time = FromProtoTime(proto);
  return absl::StrCat(FormatUtc(time), " (", FormatRelative(time, now), ")");
}

// `5: 2 active, 3 completed`.
std::string CountsText(const v1::Experiment& experiment) {
  std::vector<std::string> parts;
  const auto add = [&parts](int64_t count, const char* what) {
    if (count > 0) parts.push_back(absl::StrCat(count, " ", what));
  };
  add(experiment.active_count(), "active");
  add(experiment.paused_count(), "paused");
  add(experiment.completed_count(), "completed");
  add(experiment.failed_count(), "failed");
  add(experiment.stopped_count(), "stopped");
  return absl::StrCat(experiment.run_count(), parts.empty() ? "" : ": ",
                      absl::StrJoin(parts, ", "));
}

std::string ExperimentPage(const v1::Experiment& experiment, absl::Time now, bool color) {
  KeyValues page;
  page.Add("Path", experiment.path());
  page.Add("Name", experiment.name());
  page.Add("Runs", CountsText(experiment));
  if (experiment.has_create_time()) page.Add("Created", TimeText(experiment.create_time(), now));
  if (!experiment.latest_run().empty()) {
    page.Add("Latest run", absl::StrCat(ShortName(experiment.latest_run()), ", created ",
                                        TimeText(experiment.latest_run_create_time(), now)));
  }
  const std::string path = ShellWord(experiment.path());
  std::vector<std::string> next = {"finetune run list --experiment " + path};
  if (experiment.active_count() + experiment.paused_count() > 0) {
    next.push_back("finetune run cancel --experiment " + path);
  }
  page.Add("Next", absl::StrJoin(next, "\n"));
  return page.Render(color);
}

}  // namespace

absl::StatusOr<int> ListExperiments(Session& session, const ListExperimentsFlags& flags) {
  if (flags.limit < 1 || flags.limit > kMaxListed) {
    return UsageError(absl::StrCat("--limit must be from 1 to ", kMaxListed, "."));
  }
  Listing listing(
      {"PATH", "RUNS", "ACTIVE", "PAUSED", "COMPLETED", "FAILED", "STOPPED", "AGE", "LATEST RUN"},
      {"CREATED", "NAME"});
  FT_RETURN_IF_ERROR(session.CheckColumns(listing));
  FT_ASSIGN_OR_RETURN(Client* const client, session.GetClient());
  // One answer, as if the whole listing were one page.
  v1::ListExperimentsResponse all;
  do {
    v1::ListExperimentsRequest request;
    request.set_page_size(
        static_cast<int32_t>(std::min<int64_t>(kPageSize, flags.limit - all.experiments_size())));
    request.set_page_token(all.next_page_token());
    FT_ASSIGN_OR_RETURN(v1::ListExperimentsResponse page, client->ListExperiments(request));
    all.set_next_page_token(page.next_page_token());
    for (auto& experiment : *page.mutable_experiments()) {
      *all.add_experiments() = std::move(experiment);
    }
  } while (!all.next_page_token().empty() && all.experiments_size() < flags.limit);

  std::ostream& out = session.io().out;
  if (session.format() == OutputFormat::kJsonl) {
    for (const v1::Experiment& experiment : all.experiments()) session.PrintMessage(experiment);
  } else if (session.format() == OutputFormat::kName) {
    // The path is what every command takes, and says more than a uid.
    for (const v1::Experiment& experiment : all.experiments()) {
      out << Sanitize(experiment.path()) << "\n";
    }
  } else if (!session.PrintMessage(all)) {
    const absl::Time now = session.io().clock.Now();
    for (const v1::Experiment& experiment : all.experiments()) {
      listing.AddRow({experiment.path(), absl::StrCat(experiment.run_count()),
                      Cell(absl::StrCat(experiment.active_count()),
                           experiment.active_count() > 0 ? Style::kBlue : Style::kNone),
                      absl::StrCat(experiment.paused_count()),
                      absl::StrCat(experiment.completed_count()),
                      Cell(absl::StrCat(experiment.failed_count()),
                           experiment.failed_count() > 0 ? Style::kRed : Style::kNone),
                      absl::StrCat(experiment.stopped_count()),
                      FormatAge(now - FromProtoTime(experiment.create_time())),
                      experiment.latest_run().empty() ? "-" : ShortName(experiment.latest_run()),
                      FormatUtc(FromProtoTime(experiment.create_time())), experiment.name()});
    }
    // Never cut: names are there to be copied.
    out << session.RenderListing(listing);
  }
  out << std::flush;
  if (session.is_table()) {
    if (all.experiments_size() == 0) {
      session.Note(
          "No experiments. One comes into being with its first run: finetune run create "
          "--experiment /Shared/NAME ...");
    }
    if (!all.next_page_token().empty()) {
      session.Note(absl::StrCat("There are more; these are the newest ", all.experiments_size(),
                                ". Show more with --limit."));
    }
  }
  return kExitOk;
}

absl::StatusOr<int> GetExperiment(Session& session, const std::string& name) {
  session.set_experiment(name);
  FT_ASSIGN_OR_RETURN(Client* const client, session.GetClient());
  v1::GetExperimentRequest request;
  request.set_name(name);
  FT_ASSIGN_OR_RETURN(const v1::Experiment experiment, client->GetExperiment(request));
  std::ostream& out = session.io().out;
  if (session.format() == OutputFormat::kName) {
    out << Sanitize(experiment.path()) << "\n";
  } else if (!session.PrintMessage(experiment)) {
    out << ExperimentPage(experiment, session.io().clock.Now(), session.color());
  }
  out << std::flush;
  return kExitOk;
}

}  // namespace finetuned::cli
