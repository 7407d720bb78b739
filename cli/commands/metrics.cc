#include <algorithm>
#include <cmath>
#include <iterator>
#include <ostream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/status.h"
#include "base/time.h"
#include "cli/commands/commands.h"
#include "cli/errors.h"
#include "cli/listing.h"
#include "cli/live_view.h"
#include "cli/metric_points.h"
#include "cli/metric_stream.h"
#include "cli/plot.h"
#include "cli/print_json.h"
#include "cli/run_text.h"
#include "cli/sanitize.h"

namespace finetuned::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kPageSize = 1000;

// What is drawn fits a screen, and a program gets all of it.
constexpr int kDrawnPoints = 1000;
// To learn the names.
constexpr int kFewPoints = 10;

// From a daemon that has only events: at most a point a second.
absl::StatusOr<MetricPoints> ReadEventPoints(Client& client, const MetricsFlags& flags) {
  MetricPoints points;
  const auto is_outside = [&](const MetricPoint& point) {
    return point.step < flags.from_step || (flags.to_step > 0 && point.step > flags.to_step);
  };
  const auto in_range = [&] {
    for (auto& [name, series] : points) {
      series.erase(std::remove_if(series.begin(), series.end(), is_outside), series.end());
    }
    return points;
  };
  v1::ListRunEventsRequest request;
  request.set_name(flags.name);
  request.set_page_size(kPageSize);
  for (;;) {
    FT_ASSIGN_OR_RETURN(const v1::ListRunEventsResponse page, client.ListRunEvents(request));
    for (const v1::RunEvent& event : page.events()) AddPoints(event, points);
    if (page.events_size() == 0) return in_range();
    request.set_after_seq(page.events(page.events_size() - 1).seq());
    if (request.after_seq() >= page.last_seq()) return in_range();
  }
}

v1::ReadMetricsRequest RequestOf(const MetricsFlags& flags, bool is_drawn) {
  v1::ReadMetricsRequest request;
  request.set_name(flags.name);
  if (flags.metrics.empty()) {
    for (const char* name : {"train/loss", "eval/loss"}) request.add_metrics(name);
  } else if (flags.metrics != std::vector<std::string>{"all"}) {
    for (const std::string& name : flags.metrics) request.add_metrics(name);
  }
  request.set_max_points(flags.points.value_or(is_drawn ? kDrawnPoints : 0));
  request.set_min_step(flags.from_step);
  request.set_max_step(flags.to_step);
  request.set_follow(flags.follow);
  return request;
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

std::string Drawing(Session& session, const std::string& name,
                    const std::vector<MetricPoint>& series) {
  std::vector<MetricPoint> finite;
  std::copy_if(series.begin(), series.end(), std::back_inserter(finite),
               [](const MetricPoint& point) { return std::isfinite(point.value); });
  const size_t odd = series.size() - finite.size();
  const std::string odd_text =
      odd == 0 ? "" : absl::StrCat("; ", odd, odd == 1 ? " is" : " are", " no finite number");
  if (finite.empty()) {
    return absl::StrCat(Sanitize(name), ": no finite number at these steps yet", odd_text, "\n");
  }
  PlotOptions options;
  options.utf8 = session.io().utf8;
  if (session.io().width > 0) options.width = session.io().width;
  const auto [least, greatest] = std::minmax_element(
      finite.begin(), finite.end(), [](const auto& a, const auto& b) { return a.value < b.value; });
  return absl::StrCat(
      absl::StrFormat("%s: %.6g at step %d; least %.6g at step %d, greatest %.6g at step %d",
                      Sanitize(name), series.back().value, series.back().step, least->value,
                      least->step, greatest->value, greatest->step),
      odd_text, "\n", Plot(finite, options));
}

std::vector<Cell> ValuesOf(const std::string& name, const MetricPoint& point) {
  return {name, absl::StrCat(point.step), absl::StrFormat("%.10g", point.value),
          FormatRfc3339(point.time)};
}

// Null for what is no finite number: JSON has none.
Json JsonOf(const std::string& name, const MetricPoint& point) {
  return {{"metric", name},
          {"step", point.step},
          {"value", std::isfinite(point.value) ? Json(point.value) : Json()},
          {"time", FormatRfc3339(point.time)}};
}

// Shows what comes as it comes: drawn again and again, or a line a point.
class MetricsFollower {
 public:
  MetricsFollower(Session& session, const Listing& listing)
      : session_(session),
        listing_(listing),
        draws_(session.is_table() && session.io().out_is_terminal),
        view_(session.io().height) {}

  void Show(const v1::ReadMetricsResponse& message) {
    if (draws_) {
      AddSeries(message, points_);
      undrawn_ = undrawn_ || message.series_size() > 0;
      if (undrawn_ && message.caught_up()) Draw();
      return;
    }
    if (message.has_went_back_to_step() && session_.is_table()) {
      session_.Note(absl::StrCat("Attempt ", message.attempt(), " goes on from step ",
                                 message.went_back_to_step(),
                                 ": what came before of later steps does not count any more."));
    }
    MetricPoints points;
    AddSeries(message, points);
    Listing listing = listing_;
    for (const auto& [name, series] : points) {
      for (const MetricPoint& point : series) {
        if (session_.format() == OutputFormat::kJsonl) {
          PrintJson(session_, JsonOf(name, point));
        } else if (session_.format() == OutputFormat::kCsv) {
          listing.AddRow(ValuesOf(name, point));
        } else {
          session_.io().out << absl::StrFormat("%s  step %d  %.6g\n", Sanitize(name), point.step,
                                               point.value);
        }
      }
    }
    if (session_.format() == OutputFormat::kCsv) {
      std::string text = session_.RenderListing(listing);
      if (shown_) text.erase(0, text.find('\n') + 1);
      session_.io().out << text;
    }
    shown_ = true;
    session_.io().out << std::flush;
  }

 private:
  void Draw() {
    std::string text;
    for (const auto& [name, series] : points_) {
      if (!series.empty()) text += Drawing(session_, name, series);
    }
    session_.io().out << view_.Draw(text) << std::flush;
    undrawn_ = false;
  }

  Session& session_;
  const Listing& listing_;
  const bool draws_;
  LiveView view_;
  MetricPoints points_;
  bool undrawn_ = false;
  bool shown_ = false;
};

}  // namespace

absl::StatusOr<int> ShowMetrics(Session& session, const MetricsFlags& flags) {
  if (flags.from_step < 0 || flags.to_step < 0 ||
      (flags.to_step > 0 && flags.to_step < flags.from_step)) {
    return UsageError("--from-step and --to-step are steps from 0, the first not after the other.");
  }
  FT_RETURN_IF_ERROR(
      session.RequireFormat({OutputFormat::kTable, OutputFormat::kWide, OutputFormat::kCsv,
                             OutputFormat::kJson, OutputFormat::kJsonl, OutputFormat::kYaml}));
  if (flags.follow) {
    FT_RETURN_IF_ERROR(session.RequireFormat(
        {OutputFormat::kTable, OutputFormat::kWide, OutputFormat::kCsv, OutputFormat::kJsonl}));
  }
  Listing listing({"METRIC", "STEP", "VALUE", "TIME"});
  FT_RETURN_IF_ERROR(session.CheckColumns(listing));
  session.set_run(flags.name);
  FT_ASSIGN_OR_RETURN(Client* const client, session.GetClient());
  const bool is_drawn = session.format() == OutputFormat::kTable;
  v1::ReadMetricsRequest request = RequestOf(flags, is_drawn);
  const absl::Duration limit = session.timeout().value_or(absl::InfiniteDuration());
  const auto on_lost = [&](const absl::Status& status) {
    session.Note(absl::StrCat("Lost the server (", Sanitize(std::string(status.message())),
                              "); the run goes on, reconnecting ..."));
  };
  if (flags.follow) {
    MetricsFollower follower(session, listing);
    FT_RETURN_IF_ERROR(ReadMetricStream(
        *client, session.io(), request, limit,
        [&](const v1::ReadMetricsResponse& message) { follower.Show(message); }, on_lost));
    return kExitOk;
  }
  MetricPoints points;
  bool incomplete = false;
  const auto take = [&](const v1::ReadMetricsResponse& message) {
    AddSeries(message, points);
    incomplete = incomplete || message.incomplete();
  };
  absl::Status read = ReadMetricStream(*client, session.io(), request, limit, take, on_lost);
  const bool all_there =
      std::all_of(request.metrics().begin(), request.metrics().end(),
                  [&](const std::string& name) { return points.count(name) != 0; });
  // Those that the run has, be it at other steps.
  MetricPoints known;
  if (read.ok() && !flags.metrics.empty() && !all_there) {
    v1::ReadMetricsRequest names;
    names.set_name(flags.name);
    names.set_max_points(kFewPoints);
    read = ReadMetricStream(
        *client, session.io(), names, limit,
        [&](const v1::ReadMetricsResponse& message) { AddSeries(message, known); }, on_lost);
    // So many that only the service could say.
    if (absl::IsInvalidArgument(read)) read = absl::OkStatus();
  }
  if (absl::IsUnimplemented(read) || (read.ok() && points.empty() && known.empty())) {
    FT_ASSIGN_OR_RETURN(points, ReadEventPoints(*client, flags));
  } else {
    FT_RETURN_IF_ERROR(read);
  }
  for (const auto& [name, series] : known) points.try_emplace(name);
  FT_ASSIGN_OR_RETURN(const std::vector<std::string> chosen, Choose(flags, points));
  if (chosen.empty()) session.Note("The run has reported no loss yet.");
  if (incomplete) {
    session.Note("Some numbers are missing: a file of them is damaged or has reached its limits.");
  }
  Json all = Json::array();
  for (const std::string& name : chosen) {
    const std::vector<MetricPoint>& series = points.at(name);
    if (is_drawn) {
      session.io().out << Drawing(session, name, series);
      continue;
    }
    for (const MetricPoint& point : series) {
      if (session.format() == OutputFormat::kJsonl) {
        PrintJson(session, JsonOf(name, point));
      } else if (session.format() == OutputFormat::kJson ||
                 session.format() == OutputFormat::kYaml) {
        all.push_back(JsonOf(name, point));
      } else {
        listing.AddRow(ValuesOf(name, point));
      }
    }
  }
  if (session.format() == OutputFormat::kJson || session.format() == OutputFormat::kYaml) {
    PrintJson(session, {{"points", all}});
  } else if (session.format() != OutputFormat::kJsonl && !is_drawn) {
    session.io().out << session.RenderListing(listing);
  }
  session.io().out << std::flush;
  return kExitOk;
}

}  // namespace finetuned::cli
