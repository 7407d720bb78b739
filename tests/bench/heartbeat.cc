#include <atomic>
#include <memory>

#include <grpcpp/grpcpp.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "base/clock.h"
#include "tests/bench/channel.h"
#include "tests/bench/daemon_process.h"
#include "tests/bench/owners.h"
#include "tests/bench/pgbench.h"
#include "tests/bench/require.h"
#include "tests/bench/scenarios.h"

namespace finetuned::bench {
namespace {

constexpr int kWorkers = 2000;
constexpr int kLeases = 50;
constexpr absl::Duration kInterval = absl::Seconds(5);
constexpr absl::Duration kTime = absl::Seconds(15);

// Workers with a session each, `n`, and runs that they hold.
void MakeLeases(const TestInstallation& installation) {
  QueueRuns(installation, 100, kWorkers * kLeases);
  installation.Sql(absl::StrCat(
      "delete from run_queue; update runs set state = 'STARTING', epoch = 1 where name like "
      "'queued-%'; update runs set state = 'RUNNING' where name like 'queued-%';"
      "insert into workers (name, session_id, boot_id, version, gpus, gpu_type, cpus, "
      "memory_bytes) "
      "select 'many-' || n, n, 'b', 'v', 0, '', 64, 0 from generate_series(1, ",
      kWorkers,
      ") n;"
      "insert into run_attempts (run_id, epoch, worker_id) select run_id, 1, w.worker_id from "
      "(select "
      "run_id, row_number() over (order by run_id) as n from runs where name like 'queued-%') r "
      "join "
      "workers w on w.session_id = 1 + (r.n - 1) / ",
      kLeases,
      ";"
      "insert into leases (run_id, epoch, worker_id, session_id, expire_time) select run_id, 1, "
      "worker_id, session_id, clock_timestamp() + interval '15 minutes' from run_attempts join "
      "workers using (worker_id) where workers.name like 'many-%'; select 1"));
  installation.Sql("vacuum (analyze) leases, workers, runs");
}

struct Renewal {
  grpc::ClientContext context;
  v1::RenewLeasesRequest request;
  v1::RenewLeasesResponse response;
};

}  // namespace

std::vector<Result> Heartbeats() {
  const TestInstallation installation;
  const DaemonProcess daemon(installation);
  MakeOwners(installation, 100, 1'000'000);
  CreateFirst(installation, daemon);
  MakeLeases(installation);
  const std::string token = installation.Token("w@example.com", "worker");
  const int64_t first_run =
      std::stoll(installation.Sql("select min(run_id) from runs where name like 'queued-%'"));
  const auto stub = v1::WorkerService::NewStub(MakeChannel(daemon.worker_listen()));
  std::atomic<int64_t> answered{0}, under_way{0};
  const auto renew = [&](int session) {
    const auto call = std::make_shared<Renewal>();
    call->context.AddMetadata("authorization", "Bearer " + token);
    call->request.set_session(session);
    for (int i = 0; i < kLeases; ++i) {
      auto* item = call->request.add_items();
      item->mutable_attempt()->set_run_id(first_run + (session - 1) * kLeases + i);
      item->mutable_attempt()->set_epoch(1);
    }
    ++under_way;
    stub->async()->RenewLeases(&call->context, &call->request, &call->response,
                               [&, call](const grpc::Status& status) {
                                 Require(status.ok(), "a renewal failed");
                                 for (const auto& result : call->response.results()) {
                                   Require(result.status().code() == 0, "a lease was lost");
                                 }
                                 ++answered;
                                 --under_way;
                               });
  };
  const std::string counts =
      "select n_tup_upd || ' ' || n_tup_hot_upd from pg_stat_user_tables where relname = 'leases'";
  const auto updates = [&] {
    installation.Sql("select pg_stat_force_next_flush()");
    const std::vector<std::string> words = absl::StrSplit(installation.Sql(counts), ' ');
    return std::pair(std::stod(words[0]), std::stod(words[1]));
  };
  std::vector<double> cpu, hot, plain;
  for (int round = 0; round < kRounds; ++round) {
    const auto updates_before = updates();
    const absl::Duration cpu_before = daemon.CpuTime();
    const absl::Time begin = RealClock::Get().Now();
    const auto count = static_cast<int>(kWorkers * (kTime / kInterval));
    for (int i = 0; i < count; ++i) {
      Wait(begin + i * kInterval / kWorkers - RealClock::Get().Now());
      renew(1 + i % kWorkers);
    }
    while (under_way > 0) Wait(absl::Milliseconds(10));
    const double seconds = absl::ToDoubleSeconds(RealClock::Get().Now() - begin);
    cpu.push_back(absl::ToDoubleSeconds(daemon.CpuTime() - cpu_before) / seconds);
    // The counts of a connection come when it has been idle for a second.
    Wait(absl::Seconds(2));
    const auto updates_after = updates();
    hot.push_back((updates_after.second - updates_before.second) /
                  std::max(1.0, updates_after.first - updates_before.first));
    plain.push_back(
        kLeases *
        RunPgbench(
            installation,
            {absl::StrCat("\\set first ", first_run, " + ", kLeases, " * random(0, ", kWorkers - 1,
                          ")\nupdate leases set renew_time = clock_timestamp(), expire_time = "
                          "clock_timestamp() + interval '15 minutes' where run_id between "
                          ":first and :first + ",
                          kLeases - 1, ";\n"),
             1, absl::Seconds(5)})
            .transactions_per_s);
  }
  Result result;
  result.name = "heartbeat";
  result.workload =
      absl::StrCat(kWorkers, " workers of ", kLeases, " leases each, renewed every 5 s");
  result.measured = absl::StrCat(
      "daemon ", absl::StrFormat("%.1f", 100 * Median(cpu)), " % of a core, ",
      absl::StrFormat("%.1f %% of the updates HOT; %d leases/s", 100 * Median(hot),
                      static_cast<int>(kWorkers * kLeases / absl::ToDoubleSeconds(kInterval))));
  result.against = absl::StrCat("pgbench -c 1 renews ", MedianAndRange(plain, 0),
                                " leases/s at most with statements of 50");
  result.goal = "< 10 % of a core, HOT >= 95 %";
  result.met = Median(cpu) < 0.1 && Median(hot) >= 0.95;
  result.numbers = {
      {"cpu", Median(cpu)}, {"hot", Median(hot)}, {"sql_leases_per_s", Median(plain)}};
  return {result};
}

}  // namespace finetuned::bench
