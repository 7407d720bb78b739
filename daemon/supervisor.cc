#include "daemon/supervisor.h"

#include <errno.h>
#include <sys/wait.h>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/logging.h"
#include "base/status.h"

namespace finetuned {
namespace {

// sysexits.h EX_CONFIG: starting it again would not help.
constexpr int kExitConfig = 78;
// A service that lived shorter has not come up.
constexpr absl::Duration kQuick = absl::Seconds(5);
constexpr int kMaxQuickEnds = 20;
constexpr absl::Duration kTick = absl::Milliseconds(200);

absl::Duration Now() { return RealClock::Get().SinceBoot(); }

}  // namespace

Supervisor::Supervisor() {
  sigemptyset(&signals_);
  sigaddset(&signals_, SIGINT);
  sigaddset(&signals_, SIGTERM);
  sigaddset(&signals_, SIGCHLD);
  sigprocmask(SIG_BLOCK, &signals_, nullptr);
}

absl::Status Supervisor::Add(Service service) {
  Running running;
  FT_ASSIGN_OR_RETURN(running.pid, StartChild(service.spec));
  running.started = Now();
  running.service = std::move(service);
  services_.push_back(std::move(running));
  return absl::OkStatus();
}

absl::Status Supervisor::Reap() {
  for (Running& running : services_) {
    int status = 0;
    if (running.pid == 0 || waitpid(running.pid, &status, WNOHANG) != running.pid) continue;
    running.pid = 0;
    const std::string how = WIFEXITED(status) ? absl::StrCat("exit status ", WEXITSTATUS(status))
                                              : absl::StrCat("signal ", WTERMSIG(status));
    const bool quick = Now() - running.started < kQuick;
    running.quick_ends = quick ? running.quick_ends + 1 : 0;
    if (!quick) running.backoff.Reset();
    const std::string where = absl::StrCat(running.service.name, " ended (", how, "); see ",
                                           running.service.spec.log_file);
    if ((WIFEXITED(status) && WEXITSTATUS(status) == kExitConfig) ||
        running.quick_ends > kMaxQuickEnds) {
      return absl::FailedPreconditionError(where);
    }
    running.restart_at = Now() + running.backoff.Next();
    Log(LogLevel::kWarning, "a service ended and is started again",
        {{"service", running.service.name}, {"how", how}});
  }
  return absl::OkStatus();
}

absl::Status Supervisor::RestartDue() {
  for (Running& running : services_) {
    if (running.pid != 0 || Now() < running.restart_at) continue;
    FT_ASSIGN_OR_RETURN(running.pid, StartChild(running.service.spec));
    running.started = Now();
  }
  return absl::OkStatus();
}

absl::Status Supervisor::RunFor(absl::Duration time) {
  const absl::Duration end = time > absl::ZeroDuration() ? Now() + time : absl::InfiniteDuration();
  while (!told_to_stop_ && Now() < end) {
    FT_RETURN_IF_ERROR(Reap());
    FT_RETURN_IF_ERROR(RestartDue());
    const timespec tick = absl::ToTimespec(std::min(kTick, end - Now()));
    const int signal = sigtimedwait(&signals_, nullptr, &tick);
    told_to_stop_ = signal == SIGINT || signal == SIGTERM;
  }
  return absl::OkStatus();
}

void Supervisor::StopAll() {
  for (auto running = services_.rbegin(); running != services_.rend(); ++running) {
    if (running->pid == 0) continue;
    kill(running->pid, running->service.stop_signal);
    const absl::Duration end = Now() + running->service.stop_timeout;
    while (running->pid != 0) {
      if (waitpid(running->pid, nullptr, WNOHANG) != 0) {
        running->pid = 0;
        break;
      }
      if (Now() >= end) {
        Log(LogLevel::kWarning, "a service did not stop in time and is killed",
            {{"service", running->service.name}});
        kill(running->pid, SIGKILL);
        waitpid(running->pid, nullptr, 0);
        running->pid = 0;
        break;
      }
      const timespec tick = absl::ToTimespec(absl::Milliseconds(50));
      sigtimedwait(&signals_, nullptr, &tick);
    }
  }
  services_.clear();
}

}  // namespace finetuned
