#include "cli/doctor.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/time.h"
#include "cli/sanitize.h"
#include "cli/style.h"
#include "cli/times.h"

namespace finetuned::cli {
namespace {

using Result = Check::Result;

// A difference that a call's way over the network cannot explain.
constexpr absl::Duration kClockTolerance = absl::Seconds(5);
// The server calls a worker online that it has heard of in this time.
constexpr absl::Duration kOnline = absl::Minutes(1);
constexpr char kClockMeaning[] =
    "Ages, `--after 2h` and times left are shown wrong by that much; runs are not harmed, because "
    "they go by the server's clock.";
constexpr char kClockNext[] = "timedatectl   (on this machine and on the server's)";

const char* Glyph(Result result, bool utf8) {
  switch (result) {
    case Result::kOk: return utf8 ? "✓" : "+";
    case Result::kWarning: return "!";
    case Result::kFailed: return utf8 ? "✗" : "x";
    case Result::kSkipped: return "-";
  }
  return "?";
}

Style StyleOf(Result result) {
  switch (result) {
    case Result::kOk: return Style::kGreen;
    case Result::kWarning: return Style::kYellow;
    case Result::kFailed: return Style::kRed;
    case Result::kSkipped: return Style::kDim;
  }
  return Style::kNone;
}

std::string Padded(std::string text, size_t width) {
  text.resize(std::max(width, text.size()), ' ');
  return text;
}

Check ClockDiffers(absl::Duration ahead, const char* at_least) {
  return {
      "clock", Result::kWarning,
      absl::StrCat("This machine's clock is ", at_least, HumanDuration(absl::AbsDuration(ahead)),
                   ahead > absl::ZeroDuration() ? " ahead of" : " behind", " the server's."),
      kClockMeaning, kClockNext};
}

}  // namespace

const char* ResultWord(Result result) {
  switch (result) {
    case Result::kOk: return "ok";
    case Result::kWarning: return "warning";
    case Result::kFailed: return "failed";
    case Result::kSkipped: return "skipped";
  }
  return "unknown";
}

std::string RenderChecks(const std::vector<Check>& checks, bool color, bool utf8) {
  size_t widest = 0;
  for (const Check& check : checks) widest = std::max(widest, check.name.size());
  constexpr size_t kWordWidth = sizeof("warning") - 1;
  const std::string indent(2 + kWordWidth + 2 + widest + 2, ' ');
  std::string text;
  for (const Check& check : checks) {
    absl::StrAppend(
        &text, Paint(StyleOf(check.result), Glyph(check.result, utf8), color), " ",
        Paint(StyleOf(check.result), Padded(ResultWord(check.result), kWordWidth), color), "  ",
        Padded(check.name, widest), "  ", Sanitize(check.detail), "\n");
    if (!check.meaning.empty()) {
      absl::StrAppend(&text, indent, "why:   ", Sanitize(check.meaning), "\n");
    }
    if (!check.next.empty()) {
      absl::StrAppend(&text, indent, "next:  ", Sanitize(check.next), "\n");
    }
  }
  return text;
}

Check CheckClock(const Health& health, const v1::ListWorkersResponse* workers, absl::Time now) {
  if (health.date.has_value()) {
    const absl::Duration difference = now - *health.date;
    if (absl::AbsDuration(difference) <= kClockTolerance) {
      return {"clock", Result::kOk, "This machine's clock agrees with the server's.", "", ""};
    }
    return ClockDiffers(difference, "");
  }
  std::optional<absl::Time> heard;
  if (workers != nullptr) {
    for (const v1::Worker& worker : workers->workers()) {
      if (worker.state() != v1::Worker::ONLINE || !worker.has_last_seen_time()) continue;
      heard =
          std::max(heard.value_or(absl::InfinitePast()), FromProtoTime(worker.last_seen_time()));
    }
  }
  if (!heard.has_value()) {
    return {"clock", Result::kSkipped,
            "The server sends no date, and no worker is online whose last sign of life would tell.",
            "", ""};
  }
  const absl::Duration age = now - *heard;
  if (age < -kClockTolerance) return ClockDiffers(age, "at least ");
  if (age > kOnline + kClockTolerance) return ClockDiffers(age - kOnline, "at least ");
  return {"clock", Result::kOk,
          "This machine's clock is within a minute of the server's, by its workers' signs of life.",
          "", ""};
}

Check CheckQuota(const v1::Quota& quota) {
  const std::string detail =
      absl::StrCat(quota.active_usage(), " of ", quota.active_limit(), " active runs");
  if (quota.active_usage() < quota.active_limit()) {
    return {"quota", Result::kOk, detail + ".", "", ""};
  }
  return {"quota", Result::kWarning, detail + ": full.",
          "A new run is refused until one of yours ends.",
          "finetune quota   (shows the runs that hold it)"};
}

Check CheckWorkers(const v1::ListWorkersResponse& workers) {
  int online = 0;
  int draining = 0;
  int silent = 0;
  int quarantined = 0;
  for (const v1::Worker& worker : workers.workers()) {
    if (worker.state() == v1::Worker::ONLINE) ++online;
    if (worker.state() == v1::Worker::DRAINING) ++draining;
    if (worker.state() == v1::Worker::SUSPECT) ++silent;
    if (worker.state() == v1::Worker::QUARANTINED) ++quarantined;
  }
  std::string detail = absl::StrCat(online, " of ", workers.workers_size(), " online");
  if (draining > 0) absl::StrAppend(&detail, ", ", draining, " draining");
  if (silent > 0) absl::StrAppend(&detail, ", ", silent, " not heard of for over a minute");
  if (quarantined > 0) absl::StrAppend(&detail, ", ", quarantined, " in quarantine");
  if (online > 0 && silent == 0 && quarantined == 0) {
    return {"workers", Result::kOk, detail + ".", "", ""};
  }
  if (online > 0 && quarantined > 0) {
    return {"workers", Result::kWarning, detail + ".",
            "A worker that loses one attempt after the other gets none for a while.",
            "finetune worker list   (then look at its host)"};
  }
  return {"workers", Result::kWarning, detail + ".",
          online == 0 ? "Runs are taken and wait until a worker is there."
                      : "Runs of a worker that stays silent start again on another one.",
          online == 0 ? "finetuned worker --config worker.yaml   (on a node), or finetuned dev"
                      : "finetune worker list"};
}

}  // namespace finetuned::cli
