#pragma once

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "cli/style.h"
#include "finetuned/v1/event.pb.h"
#include "finetuned/v1/run.pb.h"

namespace finetuned::cli {

// How progress is shown.
enum class ProgressMode {
  // kBar on a terminal, else kPlain.
  kAuto,
  // A bar that is redrawn in place, with events as lines above it.
  kBar,
  // One line per event, progress at most every five seconds.
  kPlain,
  // Nothing.
  kNone,
};

// Usage error for another word than auto, bar, plain, none.
absl::StatusOr<ProgressMode> ParseProgressMode(const std::string& text);

// Turns what is heard of a run into the bytes to be written next. Knows no stream and no clock: the
// same events give the same bytes. Everything from the server is sanitized. Not safe for concurrent
// use.
class ProgressView {
 public:
  // Between two lines of progress in kPlain, by the events' own times.
  static constexpr absl::Duration kPlainInterval = absl::Seconds(5);

  struct Options {
    // Not kAuto.
    ProgressMode mode = ProgressMode::kPlain;
    bool color = false;
    // Whether the bar may use characters beyond ASCII.
    bool utf8 = false;
    // Columns of the terminal; the bar stays within.
    int width = 80;
    // The zone of the times shown.
    absl::TimeZone zone = absl::UTCTimeZone();
  };

  explicit ProgressView(const Options& options) : options_(options) {}

  // Each event once, in order.
  std::string OnEvent(const v1::RunEvent& event);
  // The run as it is now: in kBar the line at the bottom, and everywhere why it waits, when that
  // changes.
  std::string OnRun(const v1::Run& run, absl::Time now);
  // Takes the bar away and writes what was held back. Events may follow; the bar then comes back.
  std::string Pause();

 private:
  std::string EventLine(const v1::RunEvent& event) const;
  // The bar of a training, or the state, cut to the width.
  std::string StatusLine() const;
  std::string Bar(double fraction) const;
  // Lines, between the bar's removal and its return.
  std::string Above(const std::string& lines);

  const Options options_;
  v1::Run::State state_ = v1::Run::STATE_UNSPECIFIED;
  std::string wait_;
  std::optional<v1::Progress> progress_;
  bool bar_shown_ = false;
  // kPlain: the last progress that was written, and the newer one that was not.
  std::optional<absl::Time> last_update_;
  std::optional<v1::RunEvent> held_;
};

}  // namespace finetuned::cli
