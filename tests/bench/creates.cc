#include <algorithm>
#include <map>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/hash.h"
#include "base/uuid.h"
#include "tests/bench/callers.h"
#include "tests/bench/daemon_process.h"
#include "tests/bench/owners.h"
#include "tests/bench/peers.h"
#include "tests/bench/pgbench.h"
#include "tests/bench/require.h"
#include "tests/bench/scenarios.h"

namespace finetuned::bench {
namespace {

constexpr int kConcurrency = 64;
constexpr absl::Duration kTime = absl::Seconds(5);

v1::CreateRunRequest Request(const TestInstallation& installation) {
  v1::CreateRunRequest request = ValidRequest(installation);
  request.mutable_run()->mutable_spec()->set_experiment_path("/bench");
  return request;
}

// A daemon that is kept busy with creates of so many owners, in turn.
class Creating {
 public:
  explicit Creating(int owners)
      : daemon_(installation_), owners_(owners), request_(Request(installation_)) {
    MakeOwners(installation_, owners, 1000000);
    // The experiment, the shape and the caches are there from now on.
    For(absl::Seconds(1));
  }

  CallsMade For(absl::Duration time) {
    return CreateRuns(daemon_.listen(), kConcurrency, time, [this] {
      CreateCall call{TokenOf(static_cast<int>(1 + number_++ % owners_)), request_};
      call.request.set_request_id(NewUuid(RealClock::Get().Now()));
      return call;
    });
  }

  const TestInstallation& installation() const { return installation_; }
  const DaemonProcess& daemon() const { return daemon_; }

 private:
  const TestInstallation installation_;
  const DaemonProcess daemon_;
  const int owners_;
  const v1::CreateRunRequest request_;
  int64_t number_ = 0;
};

Result Measure(const char* name, int owners, double ratio, const char* workload) {
  Creating creating(owners);
  const TestInstallation& installation = creating.installation();
  const std::string first =
      installation.Sql("select min(owner_id) from owners where email like 'bench-%'");
  std::vector<double> ours, plain, ratios, delays, cpu;
  for (int round = 0; round < kRounds; ++round) {
    const absl::Duration cpu_before = creating.daemon().CpuTime();
    CallsMade calls = creating.For(kTime);
    const double seconds = absl::ToDoubleSeconds(calls.time);
    cpu.push_back(absl::ToDoubleSeconds(creating.daemon().CpuTime() - cpu_before) / seconds);
    ours.push_back(static_cast<double>(calls.made()) / seconds);
    delays.insert(delays.end(), calls.delays.begin(), calls.delays.end());
    SqlLoad sql;
    sql.script = PlainCreate(installation, absl::StrCat(first, " + random(0, ", owners - 1, ")"),
                             "active < active_limit");
    plain.push_back(RunPgbench(installation, sql).transactions_per_s);
    ratios.push_back(ours.back() / plain.back());
  }
  CheckCounters(installation);
  Require(
      installation.Sql("select count(*) = count(distinct request_id) from create_requests") == "t",
      "a request was admitted twice");
  Result result;
  result.name = name;
  result.workload = workload;
  const double p99 = Percentile(delays, 0.99);
  result.measured = absl::StrCat(MedianAndRange(ours, 0), " runs/s, answered in p50 ",
                                 absl::StrFormat("%.0f ms, p99 %.0f ms; daemon %.0f %% of a core",
                                                 Median(delays), p99, 100 * Median(cpu)));
  result.against = absl::StrCat(
      "pgbench -c 16 -j 2 of the same rows in one statement: ", MedianAndRange(plain, 0),
      " runs/s; ratio ", MedianAndRange(ratios, 2));
  result.goal = absl::StrFormat(">= %.1f x", ratio);
  result.met = Median(ratios) >= ratio;
  result.numbers = {{"runs_per_s", Median(ours)},
                    {"sql_runs_per_s", Median(plain)},
                    {"ratio", Median(ratios)},
                    {"p99_ms", p99}};
  return result;
}

}  // namespace

std::vector<Result> Create() {
  return {Measure("create", 10000, 1, "64 CreateRun calls under way, 10,000 owners")};
}

std::vector<Result> CreateHot() {
  return {Measure("create-hot", 1, 5, "64 CreateRun calls under way, one owner with a high limit")};
}

std::vector<Result> CreateAgainstPeers() {
  std::vector<Result> results;
  const std::vector<std::string> peers = Peer::Installed();
  if (peers.empty()) return results;
  Creating creating(10000);
  for (const std::string& name : peers) {
    Peer peer(name);
    peer.Run("enqueue", 1);
    std::vector<double> ours, theirs, ratios;
    for (int round = 0; round < kRounds; ++round) {
      const CallsMade calls = creating.For(kTime);
      ours.push_back(static_cast<double>(calls.made()) / absl::ToDoubleSeconds(calls.time));
      theirs.push_back(peer.Run("enqueue", 5).at("per_s"));
      ratios.push_back(ours.back() / theirs.back());
    }
    Result result;
    result.name = absl::StrCat("create vs ", name);
    result.workload = "single enqueues, 64 under way; ours over gRPC, with the quota and an event";
    result.measured = absl::StrCat(MedianAndRange(ours, 0), " runs/s");
    result.against = absl::StrCat(name, ", from its own process: ", MedianAndRange(theirs, 0),
                                  " jobs/s; ratio ", MedianAndRange(ratios, 2));
    result.goal = ">= 3.0 x";
    result.met = Median(ratios) >= 3;
    result.numbers = {
        {"runs_per_s", Median(ours)}, {"peer_per_s", Median(theirs)}, {"ratio", Median(ratios)}};
    results.push_back(result);
  }
  CheckCounters(creating.installation());
  return results;
}

}  // namespace finetuned::bench
