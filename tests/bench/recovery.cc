#include <atomic>
#include <map>
#include <memory>
#include <thread>

#include <grpcpp/grpcpp.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/clock.h"
#include "base/grpc_status.h"
#include "base/mutex.h"
#include "base/uuid.h"
#include "tests/bench/daemon_process.h"
#include "tests/bench/owners.h"
#include "tests/bench/require.h"
#include "tests/bench/scenarios.h"

namespace finetuned::bench {
namespace {

constexpr int kCallers = 16;
constexpr int kKills = 30;
constexpr absl::Duration kUpTime = absl::Seconds(1);

// Callers that each create one run after the other, and repeat each until it is there.
class Creators {
 public:
  Creators(const TestInstallation& installation, const std::string& address)
      : request_(ValidRequest(installation)), address_(address) {
    for (int i = 0; i < kCallers; ++i) threads_.emplace_back([this, i] { Create(i); });
  }
  ~Creators() { Stop(); }

  void Stop() {
    stopping_ = true;
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }

  // From now on each caller's next success counts.
  void Begin(absl::Time time) {
    MutexLock lock(mutex_);
    since_ = time;
    first_.clear();
  }
  // When all have had it, how long each took, in milliseconds.
  std::vector<double> AllFirst() {
    MutexLock lock(mutex_);
    while (first_.size() < kCallers) changed_.WaitFor(mutex_, absl::Seconds(1));
    std::vector<double> delays;
    for (const auto& [caller, time] : first_) {
      delays.push_back(absl::ToDoubleMilliseconds(time - since_));
    }
    return delays;
  }
  int64_t made() const { return made_; }

 private:
  void Create(int number) {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    // gRPC waits for a second at first and for minutes at last, unless told otherwise.
    arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
    arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
    const auto stub = v1::RunService::NewStub(
        grpc::CreateCustomChannel(address_, grpc::InsecureChannelCredentials(), arguments));
    while (!stopping_) {
      v1::CreateRunRequest request = request_;
      request.set_request_id(NewUuid(RealClock::Get().Now()));
      for (;;) {
        grpc::ClientContext context;
        context.AddMetadata("authorization", "Bearer " + TokenOf(1 + number));
        context.set_deadline(absl::ToChronoTime(RealClock::Get().Now() + absl::Seconds(10)));
        // As docs/calling.md has it: a call that fails at once finds the daemon seconds later.
        context.set_wait_for_ready(true);
        v1::Run run;
        const absl::Time begin = RealClock::Get().Now();
        const grpc::Status status = stub->CreateRun(&context, request, &run);
        if (status.ok()) {
          ++made_;
          const absl::Time now = RealClock::Get().Now();
          MutexLock lock(mutex_);
          if (begin >= since_ && first_.emplace(number, now).second) changed_.NotifyAll();
          break;
        }
        Require(status.error_code() == grpc::StatusCode::UNAVAILABLE, "a create was refused");
        Wait(absl::Milliseconds(20));
      }
    }
  }

  const v1::CreateRunRequest request_;
  const std::string address_;
  std::atomic<bool> stopping_{false};
  std::atomic<int64_t> made_{0};
  std::vector<std::thread> threads_;
  Mutex mutex_;
  CondVar changed_;
  absl::Time since_ ABSL_GUARDED_BY(mutex_) = absl::InfiniteFuture();
  std::map<int, absl::Time> first_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

std::vector<Result> Recovery() {
  const TestInstallation installation;
  SupervisedDaemon daemon(installation);
  MakeOwners(installation, kCallers, 1'000'000'000);
  Creators creators(installation, daemon.listen());
  std::vector<double> delays;
  for (int i = 0; i < kKills; ++i) {
    Wait(kUpTime);
    creators.Begin(RealClock::Get().Now());
    daemon.Kill();
    const std::vector<double> these = creators.AllFirst();
    delays.insert(delays.end(), these.begin(), these.end());
  }
  creators.Stop();
  CheckCounters(installation);
  Require(installation.Sql("select count(*) from runs") == absl::StrCat(creators.made()),
          "a create was lost, or admitted twice");
  Result result;
  result.name = "recovery";
  const double p99 = Percentile(delays, 0.99);
  result.workload = absl::StrCat("a daemon killed ", kKills, " times under ", kCallers,
                                 " callers that create, started again at once");
  result.measured = absl::StrFormat(
      "from the kill to a caller's first success: p50 %.0f ms, p99 %.0f ms; %d creates, each "
      "there once",
      Percentile(delays, 0.5), p99, creators.made());
  result.goal = "p99 <= 2000 ms";
  result.met = p99 <= 2000;
  result.numbers = {{"p99_ms", p99}};
  return {result};
}

}  // namespace finetuned::bench
