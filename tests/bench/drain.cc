#include <atomic>
#include <memory>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/clock.h"
#include "tests/bench/daemon_process.h"
#include "tests/bench/owners.h"
#include "tests/bench/peers.h"
#include "tests/bench/pgbench.h"
#include "tests/bench/require.h"
#include "tests/bench/scenarios.h"
#include "tests/bench/slots.h"

namespace finetuned::bench {
namespace {

constexpr int kOwners = 1000;
constexpr int kWorkers = 4;
constexpr int kSlots = 50;
constexpr absl::Duration kRoundTime = absl::Seconds(8);

// The same rows in plain SQL, set by set, in the same three transactions: claim, report, end. Each
// client is a worker.
const char kPlainDrain[] = R"(
begin;
with c as (delete from run_queue where (shape_id, priority, pos) in (
    select shape_id, priority, pos from run_queue
    order by shape_id, priority, pos limit 50 for update skip locked)
  returning run_id),
r as (update runs set state = 'STARTING', epoch = epoch + 1, update_time = clock_timestamp() from c
  where runs.run_id = c.run_id returning runs.run_id, runs.epoch),
a as (insert into run_attempts (run_id, epoch, worker_id) select run_id, epoch, :client_id + 1 from r)
insert into leases (run_id, epoch, worker_id, session_id, expire_time)
  select run_id, epoch, :client_id + 1, :client_id + 1, clock_timestamp() + interval '15 minutes' from r;
commit;
begin;
with h as (select run_id, epoch from leases where worker_id = :client_id + 1 for no key update),
r as (update runs set state = 'TERMINATING', last_seq = 3, start_time = clock_timestamp(),
    update_time = clock_timestamp(), feed_pos = feed_position() from h
  where runs.run_id = h.run_id and runs.epoch = h.epoch returning runs.run_id, runs.epoch, feed_pos),
a as (update run_attempts t set acked_report = 2, start_time = clock_timestamp() from r
  where t.run_id = r.run_id and t.epoch = r.epoch)
insert into run_events (run_id, seq, event_time, epoch, type, message, detail, feed_pos)
  select run_id, 1 + n, clock_timestamp(), epoch,
    case n when 1 then 'STARTED' else 'TRAIN_FINISHED' end::event_type, 'Run started.', '',
        feed_pos from r, generate_series(1, 2) n;
commit;
begin;
with l as (delete from leases where worker_id = :client_id + 1 returning run_id, epoch),
r as (update runs set state = 'COMPLETED', last_seq = 4, end_time = clock_timestamp(),
    update_time = clock_timestamp(), feed_pos = feed_position() from l where runs.run_id = l.run_id
  returning runs.run_id, runs.epoch, owner_id, feed_pos),
a as (update run_attempts t set end_time = clock_timestamp(), end_reason = 'Completed.' from r
  where t.run_id = r.run_id and t.epoch = r.epoch),
o as (update owners set active = active - c.count from (select owner_id, count(*) from r group by 1 order by 1) c
  where owners.owner_id = c.owner_id)
insert into run_events (run_id, seq, event_time, epoch, type, message, detail, feed_pos)
  select run_id, 4, clock_timestamp(), epoch, 'COMPLETED', 'Run completed. Final weights
      uploaded.', '', feed_pos from r;
commit;
)";

std::vector<std::unique_ptr<SlotWorker>> MakeWorkers(const TestInstallation& installation,
                                                     const DaemonProcess& daemon) {
  std::vector<std::unique_ptr<SlotWorker>> workers;
  for (int i = 0; i < kWorkers; ++i) {
    workers.push_back(
        std::make_unique<SlotWorker>(installation, daemon, absl::StrCat("w", i), kSlots));
  }
  return workers;
}

// Runs ended by workers within the time.
int64_t Drain(const std::vector<std::unique_ptr<SlotWorker>>& workers, absl::Duration time) {
  std::atomic<int64_t> ended{0};
  const absl::Time end = RealClock::Get().Now() + time;
  std::vector<std::thread> threads;
  for (const auto& worker : workers) {
    threads.emplace_back([&ended, end, &worker] {
      while (RealClock::Get().Now() < end) {
        const std::vector<v1::Lease> leases = worker->Take(1);
        if (leases.empty()) continue;
        worker->Finish(leases);
        ended += static_cast<int64_t>(leases.size());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  return ended;
}

}  // namespace

std::vector<Result> DrainQueue() {
  const TestInstallation installation, plain_installation;
  const DaemonProcess daemon(installation), plain_daemon(plain_installation);
  const int64_t queued = CountOf("FINETUNED_BENCH_QUEUED", 1'000'000);
  for (const auto& [one, its_daemon] :
       {std::pair(&installation, &daemon), std::pair(&plain_installation, &plain_daemon)}) {
    MakeOwners(*one, kOwners, 1'000'000'000);
    CreateFirst(*one, *its_daemon);
    QueueRuns(*one, kOwners, queued);
  }
  plain_installation.Sql(
      "insert into workers (name, boot_id, version, gpus, gpu_type, cpus, memory_bytes) select 'p' "
      "|| n, 'b', 'v', 0, '', 50, 0 from generate_series(1, 4) n");
  const auto workers = MakeWorkers(installation, daemon);
  std::vector<double> ours, plain, ratios, cpu;
  int64_t ended = 0;
  for (int round = 0; round < kRounds; ++round) {
    const absl::Duration cpu_before = daemon.CpuTime();
    const absl::Time begin = RealClock::Get().Now();
    const int64_t count = Drain(workers, kRoundTime);
    const double seconds = absl::ToDoubleSeconds(RealClock::Get().Now() - begin);
    ended += count;
    ours.push_back(static_cast<double>(count) / seconds);
    cpu.push_back(absl::ToDoubleSeconds(daemon.CpuTime() - cpu_before) / seconds);
    plain.push_back(
        kSlots *
        RunPgbench(plain_installation, {kPlainDrain, kWorkers, kRoundTime}).transactions_per_s);
    ratios.push_back(ours.back() / plain.back());
  }
  CheckCounters(installation);
  CheckCounters(plain_installation);
  const std::string right = installation.Sql(absl::StrCat(
      "select count(*) = ", ended,
      " from runs r where state = 'COMPLETED' and last_seq = 4 and 4 = (select count(*) from "
      "run_events e where e.run_id = r.run_id) and 1 = (select count(*) from run_attempts a where "
      "a.run_id = r.run_id)"));
  Require(right == "t", "runs were lost, or run twice");
  Require(installation.Sql("select count(*) from run_queue") != "0",
          "the queue was drained before");
  Result result;
  result.name = "drain";
  result.workload =
      absl::StrCat(queued, " runs queued, ", kWorkers, " workers of ", kSlots,
                   " slots, runs that do nothing: lease, STARTED, TRAIN_FINISHED, COMPLETED");
  result.measured = absl::StrCat(MedianAndRange(ours, 0), " runs/s; daemon ",
                                 absl::StrFormat("%.0f %% of a core", 100 * Median(cpu)));
  result.against =
      absl::StrCat("pgbench -c 4 of the same rows, 50 runs a statement: ", MedianAndRange(plain, 0),
                   " runs/s; ratio ", MedianAndRange(ratios, 2));
  result.goal = ">= 0.7 x";
  result.met = Median(ratios) >= 0.7;
  result.numbers = {
      {"runs_per_s", Median(ours)}, {"sql_runs_per_s", Median(plain)}, {"ratio", Median(ratios)}};
  std::vector<Result> results = {result};
  for (const std::string& name : Peer::Installed()) {
    Peer peer(name);
    std::vector<double> theirs;
    for (int round = 0; round < kRounds; ++round) {
      theirs.push_back(peer.Run("drain", 60, 50'000).at("per_s"));
    }
    Result against;
    against.name = absl::StrCat("drain vs ", name);
    against.workload = "the same, beside 50,000 of its jobs that do nothing, in batches of 500";
    against.measured = absl::StrCat(MedianAndRange(ours, 0), " runs/s");
    against.against = absl::StrCat(name, ": ", MedianAndRange(theirs, 0), " jobs/s; ratio ",
                                   absl::StrFormat("%.2f", Median(ours) / Median(theirs)));
    against.goal = ">= 1.0 x";
    against.met = Median(ours) >= Median(theirs);
    against.numbers = {{"runs_per_s", Median(ours)}, {"peer_per_s", Median(theirs)}};
    results.push_back(against);
  }
  return results;
}

std::vector<Result> DrainUnderSnapshot() {
  constexpr absl::Duration kWindow = absl::Seconds(15);
  constexpr int kWindows = 4;
  const TestInstallation installation;
  const DaemonProcess daemon(installation);
  const int64_t queued = CountOf("FINETUNED_BENCH_QUEUED", 1'000'000);
  MakeOwners(installation, kOwners, 1'000'000'000);
  CreateFirst(installation, daemon);
  QueueRuns(installation, kOwners, queued);
  const auto workers = MakeWorkers(installation, daemon);
  const auto rate = [&workers] {
    const absl::Time begin = RealClock::Get().Now();
    const auto count = static_cast<double>(Drain(workers, kWindow));
    return count / absl::ToDoubleSeconds(RealClock::Get().Now() - begin);
  };
  const double before = rate();
  std::vector<double> during;
  {
    // As a backup, or somebody who has forgotten a session.
    TestSession session(installation.database().admin_url);
    session.Query("begin isolation level repeatable read");
    session.Query("select pg_current_xact_id()");
    for (int i = 0; i < kWindows; ++i) during.push_back(rate());
    session.Query("commit");
  }
  CheckCounters(installation);
  Require(installation.Sql("select count(*) from run_queue") != "0",
          "the queue was drained before");
  Result result;
  result.name = "drain + snapshot";
  result.workload =
      absl::StrCat("the drain of ", queued, " runs beside a transaction that stays open for 60 s");
  result.measured = absl::StrFormat("%.0f runs/s in the last 15 s of it [%.0f in the first]",
                                    during.back(), during.front());
  result.against = absl::StrFormat("its own rate before: %.0f runs/s; ratio %.2f", before,
                                   during.back() / before);
  result.goal = ">= 0.8 x";
  result.met = during.back() >= 0.8 * before;
  result.numbers = {{"runs_per_s", during.back()}, {"before_per_s", before}};
  return {result};
}

}  // namespace finetuned::bench
