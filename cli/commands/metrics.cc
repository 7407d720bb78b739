#include <algorithm>
#include <ostream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/status.h"
#include "base/time.h"
#include "cli/commands/commands.h"
#include "cli/errors.h"
#include "cli/listing.h"
#include "cli/metric_points.h"
#include "cli/plot.h"
#include "cli/print_json.h"
#include "cli/run_text.h"
#include "cli/sanitize.h"

namespace finetuned::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kPageSize = 1000;

absl::StatusOr<MetricPoints> ReadPoints(Client& client, const std::string& name) {
  MetricPoints points;
  v1::ListRunEventsRequest request;
  request.set_name(name);
  request.set_page_size(kPageSize);
  for (;;) {
    FT_ASSIGN_OR_RETURN(const v1::ListRunEventsResponse page, client.ListRunEvents(request));
    for (const v1::RunEvent& event : page.events()) AddPoints(event, points);
    if (page.events_size() == 0) return points;
    request.set_after_seq(page.events(page.events_size() - 1).seq());
    if (request.after_seq() >= page.last_seq()) return points;
  }
}

// The names to show, which all have points; a usage error for one that has none.
absl::StatusOr<std::vector<std::string>> Choose(const MetricsFlags& flags,
                                                const MetricPoints& points) {
  std::vector<std::string> all;
  for (const auto& [name, series] : points) all.push_back(name);
  if (flags.metrics == std::vector<std::string>{"all"}) return all;
  std::vector<std::string> chosen = flags.metrics;
  if (chosen.empty()) {
    for (const char* name : {"train/loss", "eval/loss"}) {
      if (points.count(name) != 0) chosen.push_back(name);
    }
  }
  for (const std::string& name : chosen) {
    if (points.count(name) != 0) continue;
    return UsageError(absl::StrCat("The run has no metric `", name, "`; it has ",
                                   all.empty() ? "none yet" : absl::StrJoin(all, ", "), "."));
  }
  return chosen;
}

void Draw(Session& session, const std::string& name, const std::vector<MetricPoint>& series) {
  PlotOptions options;
  options.utf8 = session.io().utf8;
  if (session.io().width > 0) options.width = session.io().width;
  const auto [least, greatest] = std::minmax_element(
      series.begin(), series.end(), [](const auto& a, const auto& b) { return a.value < b.value; });
  session.io().out << absl::StrFormat(
                          "%s: %.6g at step %d; least %.6g at step %d, greatest %.6g at step %d\n",
                          Sanitize(name), series.back().value, series.back().step, least->value,
                          least->step, greatest->value, greatest->step)
                   << Plot(series, options);
}

}  // namespace

absl::StatusOr<int> ShowMetrics(Session& session, const MetricsFlags& flags) {
  FT_RETURN_IF_ERROR(
      session.RequireFormat({OutputFormat::kTable, OutputFormat::kWide, OutputFormat::kCsv,
                             OutputFormat::kJson, OutputFormat::kJsonl, OutputFormat::kYaml}));
  Listing listing({"METRIC", "STEP", "VALUE", "TIME"});
  FT_RETURN_IF_ERROR(session.CheckColumns(listing));
  session.set_run(flags.name);
  FT_ASSIGN_OR_RETURN(Client* const client, session.GetClient());
  FT_ASSIGN_OR_RETURN(const MetricPoints points, ReadPoints(*client, flags.name));
  FT_ASSIGN_OR_RETURN(const std::vector<std::string> chosen, Choose(flags, points));
  if (chosen.empty()) session.Note("The run has reported no loss yet.");
  Json all = Json::array();
  for (const std::string& name : chosen) {
    const std::vector<MetricPoint>& series = points.at(name);
    if (session.format() == OutputFormat::kTable) {
      Draw(session, name, series);
      continue;
    }
    for (const MetricPoint& point : series) {
      Json json = {{"metric", name},
                   {"step", point.step},
                   {"value", point.value},
                   {"time", FormatRfc3339(point.time)}};
      if (session.format() == OutputFormat::kJsonl) {
        PrintJson(session, json);
      } else {
        all.push_back(json);
        listing.AddRow({name, absl::StrCat(point.step), absl::StrFormat("%.10g", point.value),
                        FormatRfc3339(point.time)});
      }
    }
  }
  if (session.format() == OutputFormat::kJson || session.format() == OutputFormat::kYaml) {
    PrintJson(session, {{"points", all}});
  } else if (session.format() != OutputFormat::kJsonl && session.format() != OutputFormat::kTable) {
    session.io().out << session.RenderListing(listing);
  }
  session.io().out << std::flush;
  return kExitOk;
}

}  // namespace finetuned::cli
