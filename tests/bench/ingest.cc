#include <memory>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/clock.h"
#include "tests/bench/daemon_process.h"
#include "tests/bench/pgbench.h"
#include "tests/bench/require.h"
#include "tests/bench/scenarios.h"

namespace finetuned::bench {
namespace {

constexpr int kSqlClients = 16;
constexpr absl::Duration kTime = absl::Seconds(5);

// A worker with one run, whose reports it sends as fast as they are acknowledged.
class Reporter {
 public:
  Reporter(const TestInstallation& installation, const DaemonProcess& daemon, int number, int batch)
      : user_(daemon.listen(),
              installation.Token(absl::StrCat("owner-", number, "@example.com"), "user")),
        worker_(installation, daemon.worker_listen(), absl::StrCat("w", number)) {
    Require(worker_.Open().ok(), "no session");
    const auto run = user_.Create(ValidRequest(installation));
    Require(run.ok(), "no run");
    const auto leases = worker_.Acquire();
    Require(leases.ok() && leases->leases_size() == 1, "no lease");
    name_ = leases->leases(0).run();
    attempt_ = leases->leases(0).attempt();
    v1::RunEvent update = EventOfType(v1::RunEvent::TRAIN_UPDATED);
    update.mutable_progress()->set_step(1);
    update.mutable_progress()->set_train_loss(2.5);
    batch_.assign(static_cast<size_t>(batch), update);
  }

  void Send(absl::Time end) {
    Require(worker_.Renew(attempt_, 0).ok(), "no renewal");
    while (RealClock::Get().Now() < end) {
      const absl::Time begin = RealClock::Get().Now();
      const auto response = worker_.Report(attempt_, reports_ + 1, batch_);
      Require(response.ok() && response->results(0).status().code() == 0, "a report was refused");
      reports_ += static_cast<int64_t>(batch_.size());
      delays_.push_back(absl::ToDoubleMilliseconds(RealClock::Get().Now() - begin));
    }
  }

  int64_t run_id() const { return attempt_.run_id(); }
  int64_t reports() const { return reports_; }
  std::vector<double> TakeDelays() { return std::move(delays_); }

 private:
  TestClient user_;
  TestWorker worker_;
  std::string name_;
  v1::AttemptRef attempt_;
  std::vector<v1::RunEvent> batch_;
  int64_t reports_ = 0;
  std::vector<double> delays_;
};

// Events a second of pgbench, which stores the same batches with the same columns and indexes: the
// run's row is locked and gives the numbers, the lease is compared, and one statement stores the
// events. `detail` is what the daemon stores of one.
double PlainSql(const TestInstallation& installation, int batch) {
  const std::string text = absl::StrCat(
      "begin;\n"
      "select last_seq as seq from bench_runs where run_id = :client_id for no key update \\gset\n"
      "select 1 from bench_leases where run_id = :client_id and session_id = 1 and epoch = 1;\n"
      "with moved as (update bench_runs set last_seq = :seq + ",
      batch,
      ", update_time = clock_timestamp(), progress = decode(repeat('0a', 30), 'hex')\n"
      "  where run_id = :client_id returning run_id, update_time)\n"
      "insert into bench_events (run_id, seq, event_time, epoch, type, message, detail, feed_pos)\n"
      "select run_id, :seq + n, update_time, 1, 'TRAIN_UPDATED', '[epoch=0/1][batch=0/0] loss "
      "2.5',\n"
      "  decode(repeat('0a', 40), 'hex'), feed_position() from moved, generate_series(1, ",
      batch, ") n;\ncommit;\n");
  return RunPgbench(installation, {text, kSqlClients, kTime}).transactions_per_s * batch;
}

// So many workers with a run each, and what is wanted of them.
struct Load {
  const char* name;
  int workers;
  int batch;
  double ratio;
  double ack_ms;
};

Result Measure(const Load& load) {
  const TestInstallation installation;
  const DaemonProcess daemon(installation);
  std::vector<std::unique_ptr<Reporter>> reporters;
  for (int i = 0; i < load.workers; ++i) {
    reporters.push_back(std::make_unique<Reporter>(installation, daemon, i, load.batch));
  }
  installation.Sql(absl::StrCat(
      "create table bench_runs (run_id bigint primary key, last_seq bigint not null, update_time "
      "timestamptz, progress bytea) with (fillfactor = 70);"
      "create table bench_leases (run_id bigint primary key, session_id bigint, epoch bigint);"
      "create table bench_events (like run_events including all);"
      "insert into bench_runs select n, 0 from generate_series(0, ",
      kSqlClients - 1,
      ") n;"
      "insert into bench_leases select n, 1, 1 from generate_series(0, ",
      kSqlClients - 1,
      ") n;"
      "select 1"));
  std::vector<double> ours, plain, ratios, delays, cpu;
  for (int round = 0; round < kRounds; ++round) {
    int64_t before = 0;
    for (const auto& reporter : reporters) before += reporter->reports();
    const absl::Duration cpu_before = daemon.CpuTime();
    const absl::Time begin = RealClock::Get().Now();
    std::vector<std::thread> threads;
    for (const auto& reporter : reporters) {
      threads.emplace_back([&reporter, begin] { reporter->Send(begin + kTime); });
    }
    for (std::thread& thread : threads) thread.join();
    const double seconds = absl::ToDoubleSeconds(RealClock::Get().Now() - begin);
    cpu.push_back(absl::ToDoubleSeconds(daemon.CpuTime() - cpu_before) / seconds);
    int64_t after = 0;
    for (const auto& reporter : reporters) after += reporter->reports();
    ours.push_back(static_cast<double>(after - before) / seconds);
    plain.push_back(PlainSql(installation, load.batch));
    ratios.push_back(ours.back() / plain.back());
  }
  for (const auto& reporter : reporters) {
    for (const double delay : reporter->TakeDelays()) delays.push_back(delay);
    // What was acknowledged is there, without a gap.
    const std::string counted =
        installation.Sql(absl::StrCat("select count(*) = ", reporter->reports() + 1,
                                      " and max(seq) = count(*) from run_events "
                                      "where run_id = ",
                                      reporter->run_id()));
    Require(counted == "t", "events are missing");
  }
  const double p99 = Percentile(delays, 0.99);
  Result result;
  result.name = load.name;
  result.workload = absl::StrCat(load.workers, " workers with a run each, batches of ", load.batch,
                                 ", fenced, acknowledged after the commit");
  result.measured = absl::StrCat(MedianAndRange(ours, 0), " events/s, acknowledged in p50 ",
                                 absl::StrFormat("%.0f ms, p99 %.0f ms; daemon %.0f %% of a core",
                                                 Median(delays), p99, 100 * Median(cpu)));
  result.against =
      absl::StrCat("pgbench -c ", kSqlClients, " with the same batches: ", MedianAndRange(plain, 0),
                   " events/s; ratio ", MedianAndRange(ratios, 2));
  result.goal = absl::StrFormat(">= %.1f x, p99 <= %.0f ms", load.ratio, load.ack_ms);
  result.met = Median(ratios) >= load.ratio && p99 <= load.ack_ms;
  result.numbers = {{"events_per_s", Median(ours)},
                    {"sql_events_per_s", Median(plain)},
                    {"ratio", Median(ratios)},
                    {"ack_p99_ms", p99}};
  return result;
}

}  // namespace

std::vector<Result> Ingest() { return {Measure({"events", 16, 100, 0.6, 50})}; }

std::vector<Result> SingleEvents() { return {Measure({"event-single", 64, 1, 3, 50})}; }

}  // namespace finetuned::bench
