#include "absl/strings/str_format.h"
#include "absl/synchronization/notification.h"
#include "base/clock.h"
#include "tests/bench/daemon_process.h"
#include "tests/bench/scenarios.h"

namespace finetuned::bench {

std::vector<Result> Footprint() {
  // Long enough for every loop to have run.
  constexpr absl::Duration kIdle = absl::Seconds(5);
  const TestInstallation installation;
  std::vector<double> starts, megabytes, cpu;
  for (int round = 0; round < kRounds; ++round) {
    const absl::Time begin = RealClock::Get().Now();
    // Ready: it has said where it listens.
    const DaemonProcess daemon(installation);
    starts.push_back(absl::ToDoubleMilliseconds(RealClock::Get().Now() - begin));
    const absl::Duration before = daemon.CpuTime();
    absl::Notification never;
    never.WaitForNotificationWithTimeout(kIdle);
    megabytes.push_back(static_cast<double>(daemon.PrivateBytes()) / (1 << 20));
    cpu.push_back(100 * ((daemon.CpuTime() - before) / kIdle));
  }
  Result memory;
  memory.name = "footprint";
  memory.workload = "a daemon without callers";
  memory.measured =
      MedianAndRange(megabytes, 1) + " MiB of its own, " + MedianAndRange(cpu, 1) + " % of a core";
  memory.goal = "<= 40 MiB";
  memory.met = Median(megabytes) <= 40;
  memory.numbers = {{"mebibytes", Median(megabytes)}, {"cpu_percent", Median(cpu)}};
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
