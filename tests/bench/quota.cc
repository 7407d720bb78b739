#include <atomic>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tests/bench/callers.h"
#include "tests/bench/daemon_process.h"
#include "tests/bench/owners.h"
#include "tests/bench/pgbench.h"
#include "tests/bench/require.h"
#include "tests/bench/scenarios.h"
#include "tests/bench/slots.h"

namespace finetuned::bench {
namespace {

constexpr int kCallers = 32;
constexpr int kOwners = 20;
constexpr int kLimit = 10;
constexpr absl::Duration kTime = absl::Seconds(5);

}  // namespace

std::vector<Result> QuotaStorm() {
  const TestInstallation installation;
  const DaemonProcess daemon(installation);
  MakeOwners(installation, kOwners, kLimit);
  SlotWorker worker(installation, daemon, "w1", 2);
  v1::CreateRunRequest request = ValidRequest(installation);
  request.mutable_run()->mutable_spec()->set_experiment_path("/bench");
  int64_t number = 0;
  const auto next = [&] {
    return CreateCall{TokenOf(static_cast<int>(1 + number++ % kOwners)), request};
  };
  // Slots become free all the time, a few at a time, so that the limit is met and left again.
  std::atomic<bool> stopping{false};
  std::atomic<int64_t> ended{0};
  std::thread trainer([&] {
    while (!stopping) {
      const std::vector<v1::Lease> leases = worker.Take(1);
      if (leases.empty()) continue;
      worker.Finish(leases);
      ended += static_cast<int64_t>(leases.size());
    }
  });
  CreateRuns(daemon.listen(), kCallers, absl::Seconds(1), next);
  const std::string owner =
      installation.Sql("select min(owner_id) from owners where email like 'bench-%'");
  std::vector<double> ours, plain, ratios, delays, cpu;
  int64_t admitted = 0;
  for (int round = 0; round < kRounds; ++round) {
    const absl::Duration cpu_before = daemon.CpuTime();
    CallsMade calls = CreateRuns(daemon.listen(), kCallers, kTime, next);
    const double seconds = absl::ToDoubleSeconds(calls.time);
    cpu.push_back(absl::ToDoubleSeconds(daemon.CpuTime() - cpu_before) / seconds);
    ours.push_back(static_cast<double>(calls.rejected_delays.size()) / seconds);
    admitted += calls.made();
    delays.insert(delays.end(), calls.rejected_delays.begin(), calls.rejected_delays.end());
    // The owner has no slot free, so nothing is written.
    plain.push_back(RunPgbench(installation,
                               {PlainCreate(installation,
                                            absl::StrCat(owner, " + random(0, ", kOwners - 1, ")"),
                                            "active < 0 * active_limit"),
                                16, kTime})
                        .transactions_per_s);
    ratios.push_back(ours.back() / plain.back());
  }
  stopping = true;
  trainer.join();
  CheckCounters(installation);
  Require(admitted > 0 && ended > 0, "nothing was admitted under the storm");
  const double p99 = Percentile(delays, 0.99);
  Result storm;
  storm.name = "quota-storm";
  storm.workload = absl::StrCat(kCallers, " CreateRun calls under way of ", kOwners,
                                " owners at their limit of ", kLimit, ", whose runs end meanwhile");
  storm.measured = absl::StrCat("0 violations, ", MedianAndRange(ours, 0), " refusals/s beside ",
                                absl::StrFormat("%.0f admissions; daemon %.0f %% of a core",
                                                static_cast<double>(admitted), 100 * Median(cpu)));
  storm.against = absl::StrCat("pgbench -c 16 -j 2 of a create in one statement, refused: ",
                               MedianAndRange(plain, 0), "/s; ratio ", MedianAndRange(ratios, 2));
  storm.goal = "0 violations, >= 0.5 x";
  storm.met = Median(ratios) >= 0.5;
  storm.numbers = {
      {"refusals_per_s", Median(ours)}, {"sql_per_s", Median(plain)}, {"ratio", Median(ratios)}};
  Result rejection;
  rejection.name = "quota rejection";
  rejection.workload = "the refusals of the storm";
  rejection.measured =
      absl::StrFormat("answered in p50 %.1f ms, p99 %.1f ms", Percentile(delays, 0.5), p99);
  rejection.goal = "p99 <= 10 ms";
  rejection.met = p99 <= 10;
  rejection.numbers = {{"p99_ms", p99}};
  return {storm, rejection};
}

}  // namespace finetuned::bench
