#include "tests/bench/daemon_process.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/file.h"

namespace finetuned::bench {
namespace {

[[noreturn]] void Die(const char* what) {
  perror(what);
  abort();
}

// In the new process, until it is killed.
[[noreturn]] void Serve(const TestInstallation& installation, int out) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  const auto server = installation.StartDaemon();
  const std::string addresses = absl::StrCat(server->listen(), " ", server->worker_listen(), "\n");
  if (write(out, addresses.data(), addresses.size()) < 0) Die("write");
  close(out);
  for (;;) pause();
}

// An address of this host that nobody uses now.
std::string FreeAddress() {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (fd < 0 || bind(fd, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    Die("no free port");
  }
  close(fd);
  return absl::StrCat("127.0.0.1:", ntohs(address.sin_port));
}

// Starts one daemon after the other; each says its pid when it serves.
[[noreturn]] void Supervise(const TestInstallation& installation, const std::string& listen,
                            int pids) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  for (;;) {
    const pid_t child = fork();
    if (child < 0) Die("fork");
    if (child == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      const auto server = installation.StartDaemon(
          [&listen](config::v1::DaemonConfig* config) { config->set_listen(listen); });
      const pid_t own = getpid();
      if (write(pids, &own, sizeof own) < 0) Die("write");
      for (;;) pause();
    }
    if (waitpid(child, nullptr, 0) < 0) Die("waitpid");
  }
}

}  // namespace

SupervisedDaemon::SupervisedDaemon(const TestInstallation& installation) : listen_(FreeAddress()) {
  int ends[2];
  if (pipe(ends) != 0) Die("pipe");
  supervisor_ = fork();
  if (supervisor_ < 0) Die("fork");
  if (supervisor_ == 0) Supervise(installation, listen_, ends[1]);
  close(ends[1]);
  pids_ = ends[0];
  AwaitDaemon();
}

SupervisedDaemon::~SupervisedDaemon() {
  kill(supervisor_, SIGKILL);
  waitpid(supervisor_, nullptr, 0);
  close(pids_);
}

void SupervisedDaemon::AwaitDaemon() {
  if (read(pids_, &daemon_, sizeof daemon_) != sizeof daemon_) Die("the daemon did not start");
}

void SupervisedDaemon::Kill() {
  kill(daemon_, SIGKILL);
  AwaitDaemon();
}

DaemonProcess::DaemonProcess(const TestInstallation& installation) {
  int ends[2];
  if (pipe(ends) != 0) Die("pipe");
  pid_ = fork();
  if (pid_ < 0) Die("fork");
  if (pid_ == 0) Serve(installation, ends[1]);
  close(ends[1]);
  std::string text;
  char piece[256];
  for (ssize_t count = 0; (count = read(ends[0], piece, sizeof piece)) > 0;) {
    text.append(piece, static_cast<size_t>(count));
  }
  close(ends[0]);
  const std::vector<std::string> words = absl::StrSplit(text, absl::ByAnyChar(" \n"));
  if (words.size() < 2) Die("the daemon did not start");
  listen_ = words[0];
  worker_listen_ = words[1];
}

DaemonProcess::~DaemonProcess() {
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
}

int64_t DaemonProcess::PrivateBytes() const {
  const auto text = ReadFile(absl::StrCat("/proc/", pid_, "/smaps_rollup"));
  int64_t kilobytes = 0;
  if (!text.ok()) Die("smaps_rollup");
  for (const absl::string_view line : absl::StrSplit(*text, '\n')) {
    const std::vector<absl::string_view> words = absl::StrSplit(line, ' ', absl::SkipEmpty());
    int64_t value = 0;
    if (words.size() >= 2 && (words[0] == "Private_Clean:" || words[0] == "Private_Dirty:") &&
        absl::SimpleAtoi(words[1], &value)) {
      kilobytes += value;
    }
  }
  return kilobytes * 1024;
}

absl::Duration DaemonProcess::CpuTime() const {
  clockid_t clock;
  timespec time;
  if (clock_getcpuclockid(pid_, &clock) != 0 || clock_gettime(clock, &time) != 0) Die("clock");
  return absl::DurationFromTimespec(time);
}

absl::Duration OwnCpuTime() {
  timespec time;
  if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time) != 0) Die("clock");
  return absl::DurationFromTimespec(time);
}

}  // namespace finetuned::bench
