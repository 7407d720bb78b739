#include <ostream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/status.h"
#include "base/time.h"
#include "cli/commands/commands.h"
#include "cli/errors.h"
#include "cli/follow.h"
#include "cli/progress_view.h"
#include "cli/run_text.h"
#include "cli/sanitize.h"
#include "cli/times.h"

// Commands that follow a run to its end.

namespace finetuned::cli {
namespace {

int ExitCodeOfState(v1::Run::State state) {
  switch (state) {
    case v1::Run::COMPLETED: return kExitOk;
    case v1::Run::FAILED: return kExitRunFailed;
    case v1::Run::STOPPED: return kExitRunStopped;
    default: return kExitFailure;
  }
}

// Shows what is followed, and keeps what the summary needs.
class WatchObserver final : public FollowObserver {
 public:
  WatchObserver(Session& session, const ProgressView::Options& options)
      : session_(session), view_(options) {}

  void OnEvent(const v1::RunEvent& event) override {
    last_seq_ = event.seq();
    if (event.type() == v1::RunEvent::EVALUATED && event.has_evaluation()) {
      const v1::Evaluation& evaluation = event.evaluation();
      if (evaluation.when() == v1::Evaluation::BEFORE) loss_before_ = evaluation.loss();
      if (evaluation.when() == v1::Evaluation::AFTER) loss_after_ = evaluation.loss();
    }
    if (session_.format() == OutputFormat::kTable) {
      Write(view_.OnEvent(event));
    } else {
      session_.PrintMessage(event);
      session_.io().out << std::flush;
    }
  }
  void OnRun(const v1::Run& run) override {
    if (session_.format() == OutputFormat::kTable) {
      Write(view_.OnRun(run, session_.io().clock.Now()));
    }
  }
  void OnDropped(int64_t up_to) override {
    session_.Note(absl::StrCat("Events 1 to ", up_to, " are past their retention and are gone."));
  }
  void OnLost(const absl::Status& status) override {
    Write(view_.Pause());
    const std::string message = Sanitize(std::string(status.message()));
    session_.Note(absl::StrCat("Lost the server after event ", last_seq_,
                               message.empty() ? "" : " (" + message + ")",
                               "; the run goes on, reconnecting ..."));
  }
  void OnRecovered() override {}

  void TakeBarAway() { Write(view_.Pause()); }
  int64_t last_seq() const { return last_seq_; }
  // `eval loss 2.31 -> 1.84 (-20.3%)`; empty unless both were seen.
  std::string LossChange() const {
    if (!loss_before_.has_value() || !loss_after_.has_value()) return "";
    std::string text =
        absl::StrCat("eval loss ", FormatLoss(*loss_before_), " -> ", FormatLoss(*loss_after_));
    if (*loss_before_ > 0) {
      absl::StrAppend(&text,
                      absl::StrFormat(" (%+.1f%%)", (*loss_after_ / *loss_before_ - 1) * 100));
    }
    return text;
  }

 private:
  void Write(const std::string& text) {
    if (!text.empty()) session_.io().out << text << std::flush;
  }

  Session& session_;
  ProgressView view_;
  int64_t last_seq_ = 0;
  std::optional<double> loss_before_;
  std::optional<double> loss_after_;
};

absl::StatusOr<ProgressView::Options> ViewOptions(const Session& session,
                                                  const std::string& progress) {
  ProgressView::Options options;
  FT_ASSIGN_OR_RETURN(options.mode, ParseProgressMode(progress));
  const Io& io = session.io();
  if (options.mode == ProgressMode::kAuto) {
    const bool dumb = io.env("TERM").value_or("") == "dumb";
    options.mode = io.out_is_terminal && !dumb ? ProgressMode::kBar : ProgressMode::kPlain;
  }
  // What a program reads has no bar in it.
  if (session.format() != OutputFormat::kTable) options.mode = ProgressMode::kNone;
  options.color = session.color();
  options.utf8 = io.utf8;
  if (io.width > 0) options.width = io.width;
  options.zone = absl::LocalTimeZone();
  return options;
}

// The last lines: how it ended, how long it took, what it brought, what can be done now.
void PrintSummary(Session& session, const v1::Run& run, const std::string& loss_change,
                  std::optional<int> checkpoints) {
  std::string text =
      absl::StrCat("\n", Paint(StateStyle(run.state()), StateName(run.state()), session.color()),
                   "  ", ShortName(run.name()));
  if (run.has_start_time() && run.has_end_time()) {
    absl::StrAppend(&text, "  in ",
                    HumanDuration(FromProtoTime(run.end_time()) - FromProtoTime(run.start_time())));
  }
  if (!loss_change.empty()) absl::StrAppend(&text, "  ", loss_change);
  if (checkpoints.has_value()) {
    absl::StrAppend(&text, "  ", *checkpoints, *checkpoints == 1 ? " checkpoint" : " checkpoints");
  }
  absl::StrAppend(&text, "\n");
  if (run.has_failure()) {
    const std::string advice = FailureAdvice(run.failure());
    if (!advice.empty()) absl::StrAppend(&text, advice, "\n");
  }
  session.io().out << text << std::flush;
  session.Note("next:  " + absl::StrJoin(NextCommands(run), "\n       "));
}

// The number of checkpoints that there are; nothing where it cannot be had, which spoils no
// summary.
std::optional<int> CountCheckpoints(Client& client, const std::string& name) {
  v1::ListCheckpointsRequest request;
  request.set_name(name);
  const auto response = client.ListCheckpoints(request);
  return response.ok() ? std::optional<int>(response->checkpoints_size()) : std::nullopt;
}

}  // namespace

absl::StatusOr<int> WatchRun(Session& session, const WatchFlags& flags) {
  if (flags.from < 1) return UsageError("--from is the number of an event, from 1.");
  if (session.format() == OutputFormat::kJson || session.format() == OutputFormat::kYaml ||
      session.format() == OutputFormat::kName) {
    return UsageError("A run is watched as a table or as --output jsonl, one event a line.");
  }
  FT_ASSIGN_OR_RETURN(const ProgressView::Options view, ViewOptions(session, flags.progress));
  session.set_run(flags.name);
  FT_ASSIGN_OR_RETURN(Client* const client, session.GetClient());
  FollowOptions options;
  options.name = flags.name;
  options.after_seq = flags.from - 1;
  options.limit = session.timeout().value_or(absl::InfiniteDuration());
  WatchObserver observer(session, view);
  const absl::StatusOr<v1::Run> run = FollowRun(*client, session.io(), options, observer);
  observer.TakeBarAway();
  if (!run.ok()) {
    if (session.io().interrupt.requested()) {
      session.Note(absl::StrCat("The run goes on. Watch it again: finetune run watch ",
                                ShortName(flags.name), " --from ", observer.last_seq() + 1));
    }
    return run.status();
  }
  if (session.format() == OutputFormat::kTable) {
    PrintSummary(session, *run, observer.LossChange(), CountCheckpoints(*client, flags.name));
  }
  return flags.exit_status ? ExitCodeOfState(run->state()) : kExitOk;
}

absl::StatusOr<int> WaitForRun(Session& session, const std::string& name) {
  // Keeps nothing and shows nothing but a broken connection.
  class Silent final : public FollowObserver {
   public:
    explicit Silent(Session& session) : session_(session) {}
    void OnEvent(const v1::RunEvent&) override {}
    void OnRun(const v1::Run&) override {}
    void OnLost(const absl::Status&) override {
      session_.Note("Lost the server; the run goes on, reconnecting ...");
    }
    void OnRecovered() override {}
    void OnDropped(int64_t) override {}

   private:
    Session& session_;
  };
  session.set_run(name);
  FT_ASSIGN_OR_RETURN(Client* const client, session.GetClient());
  FollowOptions options;
  options.name = name;
  options.limit = session.timeout().value_or(absl::InfiniteDuration());
  // The log before this moment is of no interest.
  v1::GetRunRequest request;
  request.set_name(name);
  FT_ASSIGN_OR_RETURN(v1::Run run, client->GetRun(request));
  if (!IsTerminal(run.state())) {
    options.after_seq = run.last_seq();
    Silent observer(session);
    FT_ASSIGN_OR_RETURN(run, FollowRun(*client, session.io(), options, observer));
  }
  std::ostream& out = session.io().out;
  if (session.format() == OutputFormat::kName) {
    out << ShortName(run.name()) << "\n";
  } else if (!session.PrintMessage(run)) {
    out << ShortName(run.name()) << "  "
        << Paint(StateStyle(run.state()), StateName(run.state()), session.color()) << "\n";
  }
  out << std::flush;
  return ExitCodeOfState(run.state());
}

}  // namespace finetuned::cli
