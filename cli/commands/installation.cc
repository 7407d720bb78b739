#include <array>
#include <map>
#include <ostream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
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

// Commands about the installation: quota, workers, models, version.

namespace finetuned::cli {
namespace {

Style WorkerStyle(v1::Worker::State state) {
  switch (state) {
    case v1::Worker::ONLINE: return Style::kGreen;
    case v1::Worker::DRAINING:
    case v1::Worker::SUSPECT: return Style::kYellow;
    default: return Style::kDim;
  }
}

// The runs behind the names; those that cannot be had are left out.
std::map<std::string, v1::Run> RunsByName(Client& client, const v1::Quota& quota) {
  std::map<std::string, v1::Run> runs;
  if (quota.active_runs_size() == 0) return runs;
  v1::ListRunsRequest request;
  *request.mutable_names() = quota.active_runs();
  request.set_page_size(quota.active_runs_size());
  if (auto list = client.ListRuns(request); list.ok()) {
    for (v1::Run& run : *list->mutable_runs()) {
      const std::string name = ShortName(run.name());
      runs[name] = std::move(run);
    }
  }
  return runs;
}

// `1.24B`: three digits of a number and its thousands; `-` where none is stated.
std::string ParametersCell(int64_t count) {
  if (count <= 0) return "-";
  static constexpr std::array<const char*, 5> kUnits = {"", "K", "M", "B", "T"};
  auto amount = static_cast<double>(count);
  size_t unit = 0;
  // What rounds up to a thousand belongs to the next unit.
  for (; amount >= 999.5 && unit + 1 < kUnits.size(); ++unit) amount /= 1000;
  return absl::StrFormat("%.3g%s", amount, kUnits[unit]);
}

std::string LabelsCell(const google::protobuf::Map<std::string, std::string>& labels) {
  const std::map<std::string, std::string> sorted(labels.begin(), labels.end());
  return sorted.empty() ? "-" : absl::StrJoin(sorted, ",", absl::PairFormatter("="));
}

}  // namespace

absl::StatusOr<int> ShowQuota(Session& session) {
  FT_ASSIGN_OR_RETURN(Client* const client, session.GetClient());
  FT_ASSIGN_OR_RETURN(const v1::Quota quota, client->GetQuota(v1::GetQuotaRequest()));
  std::ostream& out = session.io().out;
  if (session.format() == OutputFormat::kName) {
    for (const std::string& name : quota.active_runs()) out << ShortName(name) << "\n";
  } else if (!session.PrintMessage(quota)) {
    const bool full = quota.active_usage() >= quota.active_limit();
    KeyValues page;
    page.Add("Owner", quota.owner());
    page.Add("Active runs", Cell(absl::StrCat(quota.active_usage(), " of ", quota.active_limit(),
                                              full ? " (full)" : ""),
                                 full ? Style::kYellow : Style::kNone));
    out << page.Render(session.color());
    if (quota.active_runs_size() > 0) {
      const absl::Time now = session.io().clock.Now();
      const auto runs = RunsByName(*client, quota);
      Table table({"HELD BY", "STATE", "AGE"});
      for (const std::string& full_name : quota.active_runs()) {
        const std::string name = ShortName(full_name);
        const auto run = runs.find(name);
        if (run == runs.end()) {
          table.AddRow({name, "-", "-"});
        } else {
          table.AddRow({name, Cell(StateName(run->second.state()), StateStyle(run->second.state())),
                        FormatAge(now - FromProtoTime(run->second.create_time()))});
        }
      }
      out << "\n" << table.Render(session.color());
    }
  }
  out << std::flush;
  return kExitOk;
}

absl::StatusOr<int> ListWorkers(Session& session) {
  Listing listing({"NAME", "STATE", "RUNS", "CAPACITY", "FREE", "LAST SEEN", "VERSION"},
                  {"LAST SEEN TIME", "LABELS"});
  FT_RETURN_IF_ERROR(session.CheckColumns(listing));
  FT_ASSIGN_OR_RETURN(Client* const client, session.GetClient());
  FT_ASSIGN_OR_RETURN(const v1::ListWorkersResponse response,
                      client->ListWorkers(v1::ListWorkersRequest()));
  std::ostream& out = session.io().out;
  if (session.format() == OutputFormat::kJsonl) {
    for (const v1::Worker& worker : response.workers()) session.PrintMessage(worker);
  } else if (session.format() == OutputFormat::kName) {
    for (const v1::Worker& worker : response.workers()) out << Sanitize(worker.name()) << "\n";
  } else if (!session.PrintMessage(response)) {
    const absl::Time now = session.io().clock.Now();
    for (const v1::Worker& worker : response.workers()) {
      const std::string state = v1::Worker::State_Name(worker.state());
      listing.AddRow(
          {worker.name(), Cell(state.empty() ? "UNKNOWN" : state, WorkerStyle(worker.state())),
           absl::StrCat(worker.attempt_count()), ComputeText(worker.capacity()),
           ComputeText(worker.free()), FormatRelative(FromProtoTime(worker.last_seen_time()), now),
           worker.version(), FormatUtc(FromProtoTime(worker.last_seen_time())),
           LabelsCell(worker.labels())});
    }
    out << session.RenderListing(listing);
  }
  out << std::flush;
  if (session.is_table() && response.workers_size() == 0) {
    session.Note("No worker is known; runs wait until one is started with `finetuned worker`.");
  }
  return kExitOk;
}

absl::StatusOr<int> ListModels(Session& session) {
  Listing listing({"NAME", "PARAMETERS", "CONTEXT", "PRETRAINED", "ARCHITECTURE", "DESCRIPTION"});
  FT_RETURN_IF_ERROR(session.CheckColumns(listing));
  FT_ASSIGN_OR_RETURN(Client* const client, session.GetClient());
  FT_ASSIGN_OR_RETURN(const v1::ListModelsResponse response,
                      client->ListModels(v1::ListModelsRequest()));
  std::ostream& out = session.io().out;
  if (session.format() == OutputFormat::kJsonl) {
    for (const v1::Model& model : response.models()) session.PrintMessage(model);
  } else if (session.format() == OutputFormat::kName) {
    for (const v1::Model& model : response.models()) out << Sanitize(model.name()) << "\n";
  } else if (!session.PrintMessage(response)) {
    for (const v1::Model& model : response.models()) {
      listing.AddRow({model.name(), ParametersCell(model.parameter_count()),
                      model.context_length() > 0 ? absl::StrCat(model.context_length()) : "-",
                      model.pretrained() ? "yes" : "no",
                      model.architecture().empty() ? "-" : model.architecture(),
                      model.description()});
    }
    out << session.RenderListing(listing, session.io().width);
  }
  out << std::flush;
  if (session.is_table() && response.models_size() == 0) {
    session.Note("No model is offered: there is none under the server's model roots.");
  }
  return kExitOk;
}

absl::StatusOr<int> ShowVersion(Session& session) {
  FT_RETURN_IF_ERROR(session.RequireFormat({OutputFormat::kTable}));
  session.io().out << "finetune " << FINETUNE_VERSION << "\n" << std::flush;
  return kExitOk;
}

}  // namespace finetuned::cli
