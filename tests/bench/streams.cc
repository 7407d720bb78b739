#include <algorithm>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/clock.h"
#include "tests/bench/daemon_process.h"
#include "tests/bench/raw_tcp.h"
#include "tests/bench/require.h"
#include "tests/bench/scenarios.h"
#include "tests/bench/subscribers.h"

namespace finetuned::bench {
namespace {

constexpr int kSubscribers = 1000;
constexpr int kConnections = 20;
constexpr absl::Duration kRoundTime = absl::Seconds(10);
// As fast as it goes: events of one report, and how many more of them are under way at most.
constexpr int kGathered = 10;
constexpr int kUnderWay = 500;

void WaitUntil(absl::Time time) { Wait(time - RealClock::Get().Now()); }

// A run that is running, whose worker is this.
class ReportedRun {
 public:
  ReportedRun(const TestInstallation& installation, const DaemonProcess& daemon)
      : user_(daemon.listen(), installation.Token("ann@example.com", "user")),
        worker_(installation, daemon.worker_listen(), "w1") {
    Require(worker_.Open().ok(), "no session");
    const auto run = user_.Create(ValidRequest(installation));
    Require(run.ok(), "no run");
    name_ = run->name();
    const auto leases = worker_.Acquire();
    Require(leases.ok() && leases->leases_size() == 1, "no lease");
    attempt_ = leases->leases(0).attempt();
    worker_.held = {attempt_};
    update_ = EventOfType(v1::RunEvent::TRAIN_UPDATED);
    update_.mutable_progress()->set_step(1);
    update_.mutable_progress()->set_train_loss(2.5);
    Report();
  }

  void Report(int count = 1) {
    const auto response = worker_.Report(
        attempt_, reports_ + 1, std::vector<v1::RunEvent>(static_cast<size_t>(count), update_));
    reports_ += count;
    Require(response.ok() && response->results(0).status().code() == 0, "a report was refused");
  }
  // So many a second, evenly spread: each by itself, or what has become due meanwhile together.
  void ReportFor(absl::Duration time, int per_second) {
    const absl::Time begin = RealClock::Get().Now();
    const auto count = static_cast<int>(absl::ToDoubleSeconds(time) * per_second);
    for (int sent = 0; sent < count;) {
      WaitUntil(begin + (sent + 1) * absl::Seconds(1) / per_second);
      const double since = absl::ToDoubleSeconds(RealClock::Get().Now() - begin);
      const int due = std::clamp(static_cast<int>(since * per_second) - sent, 1, count - sent);
      Report(due);
      sent += due;
      if (sent / (10 * per_second) != (sent - due) / (10 * per_second)) {
        Renew();
      }
    }
  }

  void Renew() { Require(worker_.Renew(attempt_, 0).ok(), "no renewal"); }
  // Of a message with so many of these events, as it is written to a connection.
  size_t MessageBytes(int count) {
    const auto page = user_.Events(name_);
    Require(page.ok() && page->events_size() > 0, "no events");
    v1::WatchEventsResponse message;
    for (int i = 0; i < count; ++i) *message.add_events() = *page->events().rbegin();
    constexpr size_t kFrames = 9 + 5;  // HTTP/2's, and gRPC's.
    return message.ByteSizeLong() + kFrames;
  }

  const std::string& name() const { return name_; }
  // CREATED comes before what is reported.
  int64_t seq() const { return reports_ + 1; }

 private:
  TestClient user_;
  TestWorker worker_;
  std::string name_;
  v1::AttemptRef attempt_;
  v1::RunEvent update_;
  int64_t reports_ = 0;
};

struct Round {
  double p50 = 0;
  double p99 = 0;
  // A second.
  double messages = 0;
  double events = 0;
  double daemon_cpu = 0;
  double own_cpu = 0;
};

Round Measure(ReportedRun& run, Subscribers& subscribers, const DaemonProcess& daemon,
              int per_second) {
  const absl::Time begin = RealClock::Get().Now();
  const absl::Duration daemon_before = daemon.CpuTime();
  const absl::Duration own_before = OwnCpuTime();
  const int64_t messages = subscribers.messages();
  const int64_t first = run.seq();
  subscribers.TakeDelays();
  subscribers.Record(true);
  run.ReportFor(kRoundTime, per_second);
  Require(subscribers.WaitFor(run.seq()), "an event did not come");
  subscribers.Record(false);
  std::vector<double> delays = subscribers.TakeDelays();
  Round round;
  round.p50 = Percentile(delays, 0.5);
  round.p99 = Percentile(delays, 0.99);
  const absl::Duration time = RealClock::Get().Now() - begin;
  round.messages =
      static_cast<double>(subscribers.messages() - messages) / absl::ToDoubleSeconds(time);
  round.events = static_cast<double>(run.seq() - first) / absl::ToDoubleSeconds(time);
  round.daemon_cpu = absl::FDivDuration(daemon.CpuTime() - daemon_before, time);
  round.own_cpu = absl::FDivDuration(OwnCpuTime() - own_before, time);
  Require(subscribers.wrong() == 0, "an event was lost or doubled");
  return round;
}

std::vector<double> Of(const std::vector<Round>& rounds, double Round::*field) {
  std::vector<double> values;
  for (const Round& round : rounds) values.push_back(round.*field);
  return values;
}

Result FanOutResult(int per_second, double limit, const std::vector<Round>& rounds) {
  Result result;
  result.name = absl::StrCat("fan-out ", per_second, "/s");
  result.workload = absl::StrCat(kSubscribers, " subscribers to one run on ", kConnections,
                                 " connections, ", per_second, " events/s");
  const double p99 = Median(Of(rounds, &Round::p99));
  result.measured = absl::StrCat(
      "p50 ", MedianAndRange(Of(rounds, &Round::p50), 1), " ms, p99 ",
      MedianAndRange(Of(rounds, &Round::p99), 1), " ms from the commit; ",
      absl::StrFormat(
          "%.0f events/s in %.0f messages/s, daemon %.0f %% of a core, subscribers %.0f %%",
          Median(Of(rounds, &Round::events)), Median(Of(rounds, &Round::messages)),
          100 * Median(Of(rounds, &Round::daemon_cpu)), 100 * Median(Of(rounds, &Round::own_cpu))));
  result.goal = absl::StrFormat("p99 <= %.0f ms", limit);
  result.met = p99 <= limit;
  result.numbers = {{"p50_ms", Median(Of(rounds, &Round::p50))},
                    {"p99_ms", p99},
                    {"daemon_cores", Median(Of(rounds, &Round::daemon_cpu))}};
  return result;
}

struct Ceiling {
  // Of all subscribers together, a second.
  double events = 0;
  double per_message = 0;
  double daemon_cpu = 0;
  double own_cpu = 0;
};

Ceiling MeasureCeiling(ReportedRun& run, Subscribers& subscribers, const DaemonProcess& daemon) {
  const int64_t first = run.seq();
  const int64_t messages = subscribers.messages();
  const absl::Duration daemon_before = daemon.CpuTime();
  const absl::Duration own_before = OwnCpuTime();
  const absl::Time begin = RealClock::Get().Now();
  run.Renew();
  while (RealClock::Get().Now() < begin + kRoundTime) {
    run.Report(kGathered);
    Require(subscribers.WaitFor(run.seq() - kUnderWay), "an event did not come");
  }
  Require(subscribers.WaitFor(run.seq()), "an event did not come");
  Require(subscribers.wrong() == 0, "an event was lost or doubled");
  const absl::Duration time = RealClock::Get().Now() - begin;
  const double delivered = static_cast<double>(run.seq() - first) * kSubscribers;
  return {delivered / absl::ToDoubleSeconds(time),
          delivered / static_cast<double>(subscribers.messages() - messages),
          absl::FDivDuration(daemon.CpuTime() - daemon_before, time),
          absl::FDivDuration(OwnCpuTime() - own_before, time)};
}

}  // namespace

std::vector<Result> FanOutCeiling() {
  const TestInstallation installation;
  const DaemonProcess daemon(installation);
  ReportedRun run(installation, daemon);
  const auto tokens = Subscribers::MakeTokens(installation, kSubscribers);
  const size_t bytes = run.MessageBytes(kGathered);
  std::vector<double> ours, raw, ratios, gathered, daemon_cpu, own_cpu;
  for (int i = 0; i < kRounds; ++i) {
    {
      Subscribers subscribers(daemon.listen(), tokens, kConnections);
      Require(subscribers.Open(run.name(), run.seq(), kSubscribers), "a stream was refused");
      const Ceiling round = MeasureCeiling(run, subscribers, daemon);
      ours.push_back(round.events);
      gathered.push_back(round.per_message);
      daemon_cpu.push_back(round.daemon_cpu);
      own_cpu.push_back(round.own_cpu);
    }
    raw.push_back(kGathered * RawTcpWrites(kSubscribers, bytes, kRoundTime / 2));
    ratios.push_back(ours.back() / raw.back());
  }
  Result result;
  result.name = "fan-out ceiling";
  result.workload =
      absl::StrCat(kSubscribers, " subscribers to one run on ", kConnections,
                   " connections, its events as fast as they are taken, reported in tens");
  result.measured = absl::StrCat(
      MedianAndRange(ours, 0), " events/s delivered, ",
      absl::StrFormat("%.0f to a message; daemon %.0f %% of a core, subscribers %.0f %%",
                      Median(gathered), 100 * Median(daemon_cpu), 100 * Median(own_cpu)));
  result.against = absl::StrCat("raw TCP on as many connections, ", kGathered, " events (", bytes,
                                " bytes) a write: ", MedianAndRange(raw, 0), " events/s; ratio ",
                                MedianAndRange(ratios, 2));
  result.goal = ">= 0.3 x";
  result.met = Median(ratios) >= 0.3;
  result.numbers = {
      {"events_per_s", Median(ours)}, {"tcp_events_per_s", Median(raw)}, {"ratio", Median(ratios)}};
  return {result};
}

std::vector<Result> FanOut() {
  const TestInstallation installation;
  const DaemonProcess daemon(installation);
  ReportedRun run(installation, daemon);
  const auto tokens = Subscribers::MakeTokens(installation, kSubscribers + 1);
  std::vector<Round> slow, fast, alone, beside;
  for (int i = 0; i < kRounds; ++i) {
    Subscribers subscribers(daemon.listen(), tokens, kConnections);
    Require(subscribers.Open(run.name(), run.seq(), kSubscribers), "a stream was refused");
    slow.push_back(Measure(run, subscribers, daemon, 20));
    fast.push_back(Measure(run, subscribers, daemon, 200));
    alone.push_back(fast.back());
    // From the beginning, so that there is more for it than a connection holds.
    Require(subscribers.Open(run.name(), 0, 1, /*stopped=*/true), "a stream was refused");
    beside.push_back(Measure(run, subscribers, daemon, 200));
  }
  std::vector<Result> results = {FanOutResult(20, 50, slow), FanOutResult(200, 150, fast)};
  std::vector<double> changes;
  for (int i = 0; i < kRounds; ++i) changes.push_back(beside[i].p99 / alone[i].p99 - 1);
  Result stopped;
  stopped.name = "a stopped subscriber";
  stopped.workload = absl::StrCat("the same at 200/s, and one more that takes nothing");
  stopped.measured =
      absl::StrCat("p99 ", MedianAndRange(Of(beside, &Round::p99), 1), " ms; change ",
                   absl::StrFormat("%+.0f %%", 100 * Median(changes)));
  stopped.against = "p99 without it, in the same rounds";
  stopped.goal = "< 10 %";
  stopped.met = Median(changes) < 0.1;
  stopped.numbers = {{"change", Median(changes)}};
  results.push_back(stopped);
  return results;
}

std::vector<Result> IdleSubscribers() {
  constexpr int kWarm = 100;
  constexpr int kIdle = 10'000;
  const TestInstallation installation;
  const DaemonProcess daemon(installation);
  ReportedRun run(installation, daemon);
  Subscribers subscribers(daemon.listen(), Subscribers::MakeTokens(installation, kWarm + kIdle),
                          40);
  Require(subscribers.Open(run.name(), run.seq(), kWarm), "a stream was refused");
  WaitUntil(RealClock::Get().Now() + absl::Seconds(12));
  const int64_t before = daemon.PrivateBytes();
  Require(subscribers.Open(run.name(), run.seq(), kIdle), "a stream was refused");
  // Each has had a bookmark.
  WaitUntil(RealClock::Get().Now() + absl::Seconds(15));
  const double each = static_cast<double>(daemon.PrivateBytes() - before) / kIdle;
  const absl::Duration cpu_before = daemon.CpuTime();
  const absl::Duration time = absl::Seconds(20);
  WaitUntil(RealClock::Get().Now() + time);
  const double cpu = absl::FDivDuration(daemon.CpuTime() - cpu_before, time);
  Result result;
  result.name = "idle subscribers";
  result.workload = absl::StrCat(kIdle, " subscribers to one run on 40 connections, no event");
  result.measured = absl::StrFormat("%.1f KiB each, daemon %.0f %% of a core for their bookmarks",
                                    each / 1024, 100 * cpu);
  result.goal = "<= 25 KiB each";
  result.met = each <= 25 * 1024;
  result.numbers = {{"bytes_each", each}, {"daemon_cores", cpu}};
  return {result};
}

}  // namespace finetuned::bench
