#include "cli/progress_view.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/time.h"
#include "cli/errors.h"
#include "cli/run_text.h"
#include "cli/sanitize.h"
#include "cli/table.h"
#include "cli/times.h"

namespace finetuned::cli {
namespace {

// To the first column, and everything to its right away.
constexpr char kClearLine[] = "\r\x1b[2K";
constexpr int kMaxBarWidth = 30;
constexpr int kMinBarWidth = 8;
constexpr int kTypeWidth = 18;

// The state an event leaves its run in, where it says so before the next bookmark does.
v1::Run::State StateAfter(v1::RunEvent::Type type, v1::Run::State before) {
  switch (type) {
    case v1::RunEvent::CREATED:
    case v1::RunEvent::RESUME_REQUESTED:
    case v1::RunEvent::REQUEUED: return v1::Run::PENDING;
    case v1::RunEvent::PAUSED: return v1::Run::PAUSED;
    case v1::RunEvent::STARTED:
    case v1::RunEvent::DATA_VALIDATED:
    case v1::RunEvent::MODEL_INITIALIZED:
    case v1::RunEvent::TRAIN_UPDATED:
      return before == v1::Run::TERMINATING ? before : v1::Run::RUNNING;
    case v1::RunEvent::TRAIN_FINISHED:
    case v1::RunEvent::STOP_REQUESTED: return v1::Run::TERMINATING;
    default: return before;
  }
}

std::string EventText(const v1::RunEvent& event) {
  if (event.has_evaluation()) {
    return absl::StrCat("Eval loss: ", FormatLoss(event.evaluation().loss()), " (",
                        EvaluationWhen(event.evaluation()), ")");
  }
  std::string text = Sanitize(event.message());
  if (text.empty() && event.has_failure()) text = Sanitize(event.failure().message());
  if (text.empty() && event.has_raw_json()) text = Sanitize(event.raw_json());
  return text;
}

}  // namespace

absl::StatusOr<ProgressMode> ParseProgressMode(const std::string& text) {
  if (text.empty() || text == "auto") return ProgressMode::kAuto;
  if (text == "bar") return ProgressMode::kBar;
  if (text == "plain") return ProgressMode::kPlain;
  if (text == "none") return ProgressMode::kNone;
  return UsageError(absl::StrCat("--progress is `", text, "`; give auto, bar, plain or none."));
}

std::string ProgressView::EventLine(const v1::RunEvent& event) const {
  const char* format = options_.mode == ProgressMode::kBar ? "%H:%M:%S" : "%Y-%m-%d %H:%M:%S";
  const std::string time =
      absl::FormatTime(format, FromProtoTime(event.event_time()), options_.zone);
  const std::string type = EventTypeName(event.type());
  const int padding = std::max(0, kTypeWidth - static_cast<int>(type.size()));
  return absl::StrCat(Paint(Style::kDim, time, options_.color), "  ",
                      Paint(EventStyle(event.type()), type, options_.color),
                      std::string(static_cast<size_t>(padding), ' '), " ", EventText(event), "\n");
}

std::string ProgressView::Bar(double fraction) const {
  const int width = std::clamp(options_.width / 3, kMinBarWidth, kMaxBarWidth);
  const int full = static_cast<int>(fraction * width);
  std::string bar;
  for (int i = 0; i < width; ++i) {
    bar += options_.utf8 ? (i < full ? "█" : "░") : (i < full ? "#" : "-");
  }
  return options_.utf8 ? bar : "[" + bar + "]";
}

std::string ProgressView::StatusLine() const {
  std::vector<std::string> parts = {StateName(state_)};
  const bool training = progress_.has_value() && state_ != v1::Run::PENDING;
  if (training) {
    if (const auto fraction = ProgressFraction(*progress_)) parts.push_back(Bar(*fraction));
    const std::string percent = ProgressPercent(*progress_);
    if (!percent.empty()) parts.push_back(percent);
    for (std::string& part : ProgressParts(*progress_)) parts.push_back(std::move(part));
    if (progress_->has_train_loss()) parts.push_back("loss " + FormatLoss(progress_->train_loss()));
    if (progress_->has_remaining_duration() && state_ == v1::Run::RUNNING) {
      parts.push_back("ETA " +
                      HumanDuration(absl::Floor(FromProtoDuration(progress_->remaining_duration()),
                                                absl::Seconds(1))));
    }
  } else if (!wait_.empty() && state_ == v1::Run::PENDING) {
    parts.push_back(wait_);
  }
  // One column is left free: a terminal that wraps at the last one would not clear the line.
  return FitToWidth(absl::StrJoin(parts, "  "), options_.width - 1);
}

std::string ProgressView::Above(const std::string& lines) {
  if (options_.mode != ProgressMode::kBar) return lines;
  const std::string clear = bar_shown_ ? kClearLine : "";
  bar_shown_ = true;
  return absl::StrCat(clear, lines, StatusLine());
}

std::string ProgressView::OnEvent(const v1::RunEvent& event) {
  state_ = StateAfter(event.type(), state_);
  if (event.has_progress()) progress_ = event.progress();
  if (event.type() == v1::RunEvent::REQUEUED || event.type() == v1::RunEvent::PAUSED) {
    progress_.reset();
  }
  if (options_.mode == ProgressMode::kNone) return "";
  if (event.type() == v1::RunEvent::TRAIN_UPDATED) {
    if (options_.mode == ProgressMode::kBar) return Above("");
    const absl::Time time = FromProtoTime(event.event_time());
    if (last_update_.has_value() && time - *last_update_ < kPlainInterval) {
      held_ = event;
      return "";
    }
    last_update_ = time;
    held_.reset();
    return EventLine(event);
  }
  std::string held;
  if (held_.has_value()) {
    held = EventLine(*held_);
    held_.reset();
  }
  if (IsTerminalEvent(event.type())) return Pause() + held + EventLine(event);
  return Above(held + EventLine(event));
}

std::string ProgressView::OnRun(const v1::Run& run, absl::Time now) {
  state_ = run.state();
  if (run.has_progress()) progress_ = run.progress();
  const std::string wait = run.has_wait() ? WaitSentence(run.wait()) : "";
  const bool new_wait = !wait.empty() && wait != wait_;
  wait_ = wait;
  if (options_.mode == ProgressMode::kNone) return "";
  if (options_.mode == ProgressMode::kBar) return IsTerminal(state_) ? Pause() : Above("");
  if (!new_wait) return "";
  return absl::StrCat(
      Paint(Style::kDim, absl::FormatTime("%Y-%m-%d %H:%M:%S", now, options_.zone), options_.color),
      "  ", absl::StrFormat("%-18s", "(waiting)"), " ", wait, "\n");
}

std::string ProgressView::Pause() {
  std::string text;
  if (bar_shown_) text = kClearLine;
  bar_shown_ = false;
  if (held_.has_value()) text += EventLine(*held_);
  held_.reset();
  return text;
}

}  // namespace finetuned::cli
