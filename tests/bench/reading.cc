#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/clock.h"
#include "tests/bench/daemon_process.h"
#include "tests/bench/owners.h"
#include "tests/bench/pgbench.h"
#include "tests/bench/require.h"
#include "tests/bench/scenarios.h"
#include "tests/bench/subscribers.h"

namespace finetuned::bench {
namespace {

constexpr int kOwners = 1000;
constexpr int kPages = 400;

// Listings, one after the other, in milliseconds; `is_good` tells of each answer.
template <typename IsGood>
std::vector<double> ListPages(TestClient& client, const v1::ListRunsRequest& request,
                              const IsGood& is_good) {
  std::vector<double> delays;
  for (int i = 0; i < kPages; ++i) {
    v1::ListRunsResponse response;
    const auto context = client.Context();
    const absl::Time begin = RealClock::Get().Now();
    const grpc::Status status = client.runs().ListRuns(context.get(), request, &response);
    delays.push_back(absl::ToDoubleMilliseconds(RealClock::Get().Now() - begin));
    Require(is_good(status, response), "a listing failed, or is empty");
  }
  return delays;
}

// What a call costs that reads nothing: one that is refused for its page size.
double EmptyCall(TestClient& client) {
  v1::ListRunsRequest request;
  request.set_page_size(-1);
  std::vector<double> delays =
      ListPages(client, request, [](const grpc::Status& status, const v1::ListRunsResponse&) {
        return status.error_code() == grpc::StatusCode::INVALID_ARGUMENT;
      });
  return Percentile(delays, 0.5);
}

}  // namespace

std::vector<Result> ListLarge() {
  const int64_t count = CountOf("FINETUNED_BENCH_LISTED", 1'000'000);
  const TestInstallation installation;
  const DaemonProcess daemon(installation);
  MakeOwners(installation, kOwners, 1'000'000'000);
  TestClient user(daemon.listen(), TokenOf(1));
  CreateFirst(installation, daemon);
  const std::string owner =
      installation.Sql("select min(owner_id) from owners where email like 'bench-%'");
  std::vector<Result> results;
  double small_p50 = 0;
  int64_t there = 0;
  for (const int64_t size : {count / 10, count}) {
    QueueRuns(installation, kOwners, size - there);
    there = size;
    v1::ListRunsRequest request;
    request.set_page_size(50);
    std::vector<double> ours, plain, differences, p99, empty;
    for (int round = 0; round < kRounds; ++round) {
      std::vector<double> delays = ListPages(
          user, request, [](const grpc::Status& status, const v1::ListRunsResponse& response) {
            return status.ok() && response.runs_size() > 0;
          });
      empty.push_back(EmptyCall(user));
      ours.push_back(Percentile(delays, 0.5));
      p99.push_back(Percentile(delays, 0.99));
      // What the daemon asks for, with the same columns.
      plain.push_back(
          RunPgbench(
              installation,
              {absl::StrCat("select r.*, s.spec, e.path from runs r join run_specs s using "
                            "(run_id) join experiments e using (experiment_id) where "
                            "r.owner_id = ",
                            owner,
                            " and r.delete_time is null order by r.create_time desc, r.run_id "
                            "desc limit 51;\n"),
               1, absl::Seconds(3)})
              .mean_ms);
      differences.push_back(ours.back() - plain.back());
    }
    Result result;
    result.name = absl::StrCat("list ", size);
    result.workload = absl::StrCat("pages of 50 of one owner's runs, of ", size, " runs of ",
                                   kOwners, " owners, one call at a time");
    result.measured =
        absl::StrCat("p50 ", MedianAndRange(ours, 2), " ms, p99 ", MedianAndRange(p99, 2),
                     " ms; a call that reads nothing: p50 ", MedianAndRange(empty, 2), " ms");
    result.against = absl::StrCat("the same rows from pgbench: ", MedianAndRange(plain, 2), " ms");
    const bool largest = size == count;
    result.goal = largest ? "p50 <= SQL + 0.5 ms, and <= 1.5 x of a tenth of the runs"
                          : "p50 <= SQL + 0.5 ms";
    result.met = Median(differences) <= 0.5 && (!largest || Median(ours) <= 1.5 * small_p50);
    result.numbers = {{"p50_ms", Median(ours)}, {"sql_ms", Median(plain)}, {"p99_ms", Median(p99)}};
    small_p50 = Median(ours);
    results.push_back(result);
  }
  return results;
}

std::vector<Result> Resume() {
  constexpr int kSubscribers = 1000;
  constexpr int kEvents = 100'000;
  constexpr int kBehind = 5'000;
  const TestInstallation installation;
  const DaemonProcess daemon(installation);
  const std::vector<std::string> tokens = Subscribers::MakeTokens(installation, kSubscribers);
  TestClient user(daemon.listen(), installation.Token("ann@example.com", "user"));
  const auto run = user.Create(ValidRequest(installation));
  Require(run.ok(), "no run");
  installation.Sql(absl::StrCat(
      "insert into run_events (run_id, seq, event_time, epoch, type, message, detail) select "
      "run_id, 1 + n, clock_timestamp(), 1, 'TRAIN_UPDATED', '[epoch=1/1][batch=50/56][ETA=5min] "
      "Train loss: 1.71', decode(repeat('0a', 40), 'hex') from runs, generate_series(1, ",
      kEvents, ") n; update runs set last_seq = 1 + ", kEvents, "; select 1"));
  installation.Sql("vacuum analyze run_events");
  std::vector<double> ours, plain, ratios, cpu;
  for (int round = 0; round < kRounds; ++round) {
    Subscribers subscribers(daemon.listen(), tokens, 20);
    const absl::Duration cpu_before = daemon.CpuTime();
    const absl::Time begin = RealClock::Get().Now();
    Require(subscribers.Open(run->name(), 1 + kEvents - kBehind, kSubscribers), "a stream failed");
    Require(subscribers.WaitFor(1 + kEvents), "events are missing");
    const double seconds = absl::ToDoubleSeconds(RealClock::Get().Now() - begin);
    Require(subscribers.wrong() == 0, "events came twice, or in another order");
    cpu.push_back(absl::ToDoubleSeconds(daemon.CpuTime() - cpu_before) / seconds);
    ours.push_back(static_cast<double>(kSubscribers) * kBehind / seconds);
    plain.push_back(
        500 *
        RunPgbench(installation,
                   {absl::StrCat("\\set seq random(", kEvents - kBehind, ", ", kEvents - 500,
                                 ")\nselect seq, event_time, epoch, type, message, detail from "
                                 "run_events where run_id = (select min(run_id) from runs) and "
                                 "seq > :seq order by seq limit 500;\n"),
                    16, absl::Seconds(5)})
            .transactions_per_s);
    ratios.push_back(ours.back() / plain.back());
  }
  Result result;
  result.name = "resume";
  result.workload = absl::StrCat(kSubscribers, " subscribers reconnect at once to a run of ",
                                 kEvents, " events, each ", kBehind, " behind");
  result.measured = absl::StrCat(MedianAndRange(ours, 0), " events/s delivered; daemon ",
                                 absl::StrFormat("%.0f %% of a core", 100 * Median(cpu)));
  result.against = absl::StrCat("pgbench -c 16, 500 events a statement: ", MedianAndRange(plain, 0),
                                " events/s; ratio ", MedianAndRange(ratios, 2));
  result.goal = ">= 0.5 x";
  result.met = Median(ratios) >= 0.5;
  result.numbers = {{"events_per_s", Median(ours)},
                    {"sql_events_per_s", Median(plain)},
                    {"ratio", Median(ratios)}};
  return {result};
}

}  // namespace finetuned::bench
