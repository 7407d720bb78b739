#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/clock.h"
#include "base/file.h"
#include "tests/bench/require.h"
#include "tests/bench/scenarios.h"
#include "tests/support/test_daemon.h"

extern char** environ;

namespace finetuned::bench {
namespace {

// The program that lies beside this one.
std::string Program() {
  char path[PATH_MAX];
  const ssize_t size = readlink("/proc/self/exe", path, sizeof path - 1);
  Require(size > 0, "where is this program?");
  const std::string self(path, static_cast<size_t>(size));
  return self.substr(0, self.rfind('/')) + "/finetuned";
}

double MebibytesOf(pid_t pid) {
  const auto text = ReadFile(absl::StrCat("/proc/", pid, "/status"));
  Require(text.ok(), "the daemon has ended");
  for (const absl::string_view line : absl::StrSplit(*text, '\n')) {
    const std::vector<absl::string_view> words =
        absl::StrSplit(line, absl::ByAnyChar(" \t"), absl::SkipEmpty());
    int64_t kilobytes = 0;
    if (words.size() > 1 && words[0] == "VmRSS:" && absl::SimpleAtoi(words[1], &kilobytes)) {
      return static_cast<double>(kilobytes) / 1024;
    }
  }
  return 0;
}

double CpuSecondsOf(pid_t pid) {
  clockid_t clock;
  timespec time;
  Require(clock_getcpuclockid(pid, &clock) == 0 && clock_gettime(clock, &time) == 0, "no clock");
  return absl::ToDoubleSeconds(absl::DurationFromTimespec(time));
}

}  // namespace

std::vector<Result> Footprint() {
  // Long enough for every loop to have run.
  constexpr absl::Duration kIdle = absl::Seconds(5);
  const TestInstallation installation;
  const config::v1::DaemonConfig wanted = installation.Config();
  const std::string config = installation.artifact_root() + "/daemon.yaml";
  const std::string ready = installation.artifact_root() + "/ready";
  Require(WriteFileAtomically(
              config, absl::StrCat("database_url: \"", wanted.database_url(),
                                   "\"\nartifact_root: ", wanted.artifact_root(), "\ndata_roots: [",
                                   wanted.data_roots(0), "]\nmodel_roots: [", wanted.model_roots(0),
                                   "]\nlisten: 127.0.0.1:0\nworker_listen: 127.0.0.1:0\n"
                                   "metrics_listen: 127.0.0.1:0\nlog_level: error\nready_file: ",
                                   ready, "\n"))
              .ok(),
          "cannot write the configuration");
  std::vector<double> starts, mebibytes, cpu;
  for (int round = 0; round < kRounds; ++round) {
    const std::string program = Program();
    std::string words[] = {program, "serve", "--config", config};
    char* argv[] = {words[0].data(), words[1].data(), words[2].data(), words[3].data(), nullptr};
    unlink(ready.c_str());
    const absl::Time begin = RealClock::Get().Now();
    pid_t pid = 0;
    Require(posix_spawn(&pid, program.c_str(), nullptr, nullptr, argv, environ) == 0,
            "the daemon cannot be started");
    while (!FileExists(ready)) {
      Require(waitpid(pid, nullptr, WNOHANG) == 0, "the daemon ended at once");
      Wait(absl::Milliseconds(1));
    }
    starts.push_back(absl::ToDoubleMilliseconds(RealClock::Get().Now() - begin));
    const double before = CpuSecondsOf(pid);
    Wait(kIdle);
    mebibytes.push_back(MebibytesOf(pid));
    cpu.push_back(100 * (CpuSecondsOf(pid) - before) / absl::ToDoubleSeconds(kIdle));
    kill(pid, SIGTERM);
    waitpid(pid, nullptr, 0);
  }
  Result memory;
  memory.name = "footprint";
  memory.workload = "a daemon without callers";
  memory.measured =
      MedianAndRange(mebibytes, 1) + " MiB resident, " + MedianAndRange(cpu, 1) + " % of a core";
  memory.goal = "<= 40 MiB";
  memory.met = Median(mebibytes) <= 40;
  memory.numbers = {{"mebibytes", Median(mebibytes)}, {"cpu_percent", Median(cpu)}};
  Result start;
  start.name = "start to ready";
  start.workload = "a daemon on a migrated database";
  start.measured = MedianAndRange(starts, 0) + " ms";
  start.goal = "<= 300 ms";
  start.met = Median(starts) <= 300;
  start.numbers = {{"ms", Median(starts)}};
  return {memory, start};
}

}  // namespace finetuned::bench
