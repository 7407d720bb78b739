#include <algorithm>
#include <functional>
#include <map>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/clock.h"
#include "tests/bench/daemon_process.h"
#include "tests/bench/owners.h"
#include "tests/bench/require.h"
#include "tests/bench/scenarios.h"
#include "tests/bench/slots.h"

namespace finetuned::bench {
namespace {

constexpr int kOwners = 1000;
constexpr int kCalls = 200;

// How long one call takes, the median of many, one at a time.
double MedianTime(const std::function<void()>& call) {
  std::vector<double> delays;
  for (int i = 0; i < kCalls; ++i) {
    const absl::Time begin = RealClock::Get().Now();
    call();
    delays.push_back(absl::ToDoubleMilliseconds(RealClock::Get().Now() - begin));
  }
  return Percentile(delays, 0.5);
}

struct Times {
  double create_ms = 0;
  double lease_ms = 0;
  double list_ms = 0;
};

}  // namespace

std::vector<Result> Backlog() {
  const int64_t most = CountOf("FINETUNED_BENCH_BACKLOG", 1'000'000);
  const TestInstallation installation;
  const DaemonProcess daemon(installation);
  MakeOwners(installation, kOwners, 1'000'000'000);
  CreateFirst(installation, daemon);
  TestClient user(daemon.listen(), TokenOf(1));
  SlotWorker worker(installation, daemon, "w", 1);
  std::map<int64_t, Times> times;
  int64_t there = 0;
  for (const int64_t size : {int64_t{1'000}, int64_t{100'000}, int64_t{1'000'000}, most}) {
    if (size > most || times.count(size) > 0) continue;
    QueueRuns(installation, kOwners, size - there);
    there = size;
    Times& measured = times[size];
    measured.create_ms = MedianTime(
        [&] { Require(user.Create(ValidRequest(installation)).ok(), "a create failed"); });
    // A run taken, reported on and ended.
    measured.lease_ms = MedianTime([&] {
      const auto leases = worker.Take(10);
      Require(leases.size() == 1, "no lease");
      worker.Finish(leases);
    });
    v1::ListRunsRequest page;
    page.set_page_size(50);
    measured.list_ms = MedianTime([&] {
      v1::ListRunsResponse response;
      Require(user.runs().ListRuns(user.Context().get(), page, &response).ok(), "a listing failed");
    });
  }
  CheckCounters(installation);
  const Times& least = times.begin()->second;
  std::vector<Result> results;
  for (const auto& [size, measured] : times) {
    Result result;
    result.name = absl::StrCat("backlog ", size);
    result.workload = absl::StrCat(size, " runs queued, one caller: the medians of ", kCalls,
                                   " creates, leases to their ends, pages of 50 runs");
    result.measured = absl::StrFormat("create %.2f ms, lease to end %.2f ms, list %.2f ms",
                                      measured.create_ms, measured.lease_ms, measured.list_ms);
    result.numbers = {{"create_ms", measured.create_ms},
                      {"lease_ms", measured.lease_ms},
                      {"list_ms", measured.list_ms}};
    if (&measured != &least) {
      const double ratio =
          std::max({measured.create_ms / least.create_ms, measured.lease_ms / least.lease_ms,
                    measured.list_ms / least.list_ms});
      result.against =
          absl::StrFormat("the same with %d queued: at most %.2f x", times.begin()->first, ratio);
      result.goal = "<= 1.5 x";
      result.met = ratio <= 1.5;
    }
    results.push_back(result);
  }
  return results;
}

}  // namespace finetuned::bench
