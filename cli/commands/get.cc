#include <ostream>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "cli/commands/commands.h"
#include "cli/errors.h"
#include "cli/follow.h"
#include "cli/live_view.h"
#include "cli/run_text.h"
#include "cli/times.h"

// One run, once or for as long as it changes.

namespace finetuned::cli {
namespace {

// Shows the run after each event: its page in place on a terminal, else a line where something has
// changed. Between two messages that carry the run, what the events say is noted in it.
class PageWatcher final : public FollowObserver {
 public:
  PageWatcher(Session& session, const v1::Run& run)
      : session_(session), view_(session.io().height), run_(run) {
    Show();
  }

  void OnEvent(const v1::RunEvent& event) override {
    run_.set_last_seq(event.seq());
    if (event.attempt() > 0) run_.set_attempt(event.attempt());
    if (event.has_progress()) *run_.mutable_progress() = event.progress();
    if (event.has_checkpoint()) run_.set_latest_checkpoint(event.checkpoint().path());
    if (event.type() == v1::RunEvent::STARTED) {
      run_.set_state(v1::Run::RUNNING);
      run_.clear_wait();
      run_.clear_state_reason();
    }
    // How it ended comes with the run itself.
    if (!IsTerminalEvent(event.type())) Show();
  }
  void OnRun(const v1::Run& run) override {
    run_ = run;
    Show();
  }
  void OnLost(const absl::Status&) override {
    session_.Note("Lost the server; the run goes on, reconnecting ...");
  }
  void OnRecovered() override {}
  void OnDropped(int64_t) override {}

 private:
  void Show() {
    const Io& io = session_.io();
    const absl::Time now = io.clock.Now();
    if (io.out_is_terminal && session_.is_table()) {
      io.out << view_.Draw(RunPage(run_, now, session_.color())) << std::flush;
      return;
    }
    const std::string progress = ProgressText(run_, now, /*with_eta=*/false);
    std::string line =
        absl::StrCat(StateName(run_.state()), progress.empty() ? "" : "  ", progress);
    if (line == shown_) return;
    if (!session_.PrintMessage(run_)) {
      io.out << FormatUtc(now) << "  " << ShortName(run_.name()) << "  " << line << "\n";
    }
    io.out << std::flush;
    shown_ = std::move(line);
  }

  Session& session_;
  LiveView view_;
  v1::Run run_;
  std::string shown_;
};

}  // namespace

void PrintRun(Session& session, const v1::Run& run) {
  std::ostream& out = session.io().out;
  if (session.format() == OutputFormat::kName) {
    out << ShortName(run.name()) << "\n";
  } else if (!session.PrintMessage(run)) {
    out << RunPage(run, session.io().clock.Now(), session.color());
  }
  out << std::flush;
}

absl::StatusOr<int> GetRun(Session& session, const GetFlags& flags) {
  if (flags.watch) {
    FT_RETURN_IF_ERROR(session.RequireFormat({OutputFormat::kTable, OutputFormat::kJsonl}));
  }
  session.set_run(flags.name);
  FT_ASSIGN_OR_RETURN(Client* const client, session.GetClient());
  v1::GetRunRequest request;
  request.set_name(flags.name);
  FT_ASSIGN_OR_RETURN(const v1::Run run, client->GetRun(request));
  if (!flags.watch) {
    PrintRun(session, run);
    return kExitOk;
  }
  PageWatcher watcher(session, run);
  if (IsTerminal(run.state())) return kExitOk;
  FollowOptions options;
  options.name = flags.name;
  options.after_seq = run.last_seq();
  options.limit = session.timeout().value_or(absl::InfiniteDuration());
  FT_ASSIGN_OR_RETURN(const v1::Run ended, FollowRun(*client, session.io(), options, watcher));
  watcher.OnRun(ended);
  return kExitOk;
}

}  // namespace finetuned::cli
