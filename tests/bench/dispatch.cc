#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <thread>

#include <grpcpp/grpcpp.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/clock.h"
#include "base/grpc_status.h"
#include "base/mutex.h"
#include "tests/bench/channel.h"
#include "tests/bench/daemon_process.h"
#include "tests/bench/owners.h"
#include "tests/bench/peers.h"
#include "tests/bench/require.h"
#include "tests/bench/scenarios.h"
#include "tests/bench/slots.h"

namespace finetuned::bench {
namespace {

constexpr int kOwners = 1000;
constexpr int kWorkers = 4;
constexpr int kSlots = 50;

// Creates so many runs a second, evenly spread, and notes when each is called for and when a worker
// has its lease.
class Dispatch {
 public:
  Dispatch(const TestInstallation& installation, const DaemonProcess& daemon)
      : request_(ValidRequest(installation)),
        stub_(v1::RunService::NewStub(MakeChannel(daemon.listen()))) {
    request_.mutable_run()->mutable_spec()->set_experiment_path("/bench");
    for (int i = 0; i < kWorkers; ++i) {
      workers_.push_back(
          std::make_unique<SlotWorker>(installation, daemon, absl::StrCat("w", i), kSlots));
      finishing_.push_back(std::make_unique<Finishing>());
      SlotWorker& worker = *workers_.back();
      Finishing& finishing = *finishing_.back();
      threads_.emplace_back([this, &worker, &finishing] { Take(worker, finishing); });
      threads_.emplace_back([this, &worker, &finishing] { Finish(worker, finishing); });
    }
  }
  ~Dispatch() {
    stopping_ = true;
    for (std::thread& thread : threads_) thread.join();
  }

  std::vector<double> Measure(int per_second, absl::Duration time) {
    const absl::Time begin = RealClock::Get().Now();
    const auto count = static_cast<int>(absl::ToDoubleSeconds(time) * per_second);
    for (int i = 0; i < count; ++i) {
      Wait(begin + i * absl::Seconds(1) / per_second - RealClock::Get().Now());
      Create();
    }
    while (!AllHere()) Wait(absl::Milliseconds(20));
    MutexLock lock(mutex_);
    return std::exchange(delays_, {});
  }

 private:
  struct Call {
    grpc::ClientContext context;
    v1::CreateRunRequest request;
    v1::Run response;
  };

  void Create() {
    const auto call = std::make_shared<Call>();
    call->request = request_;
    const int number = ++number_;
    call->request.set_run_id(absl::StrCat("d-", number));
    call->context.AddMetadata("authorization", "Bearer " + TokenOf(1 + number % kOwners));
    {
      MutexLock lock(mutex_);
      begun_[call->request.run_id()] = RealClock::Get().Now();
    }
    stub_->async()->CreateRun(
        &call->context, &call->request, &call->response,
        [call](const grpc::Status& status) { Require(status.ok(), "a create failed"); });
  }

  bool AllHere() {
    MutexLock lock(mutex_);
    return begun_.empty();
  }

  // What a worker has taken and not yet ended.
  struct Finishing {
    Mutex mutex;
    CondVar changed;
    std::vector<v1::Lease> leases ABSL_GUARDED_BY(mutex);
  };

  void Finish(SlotWorker& worker, Finishing& finishing) {
    while (!stopping_) {
      std::vector<v1::Lease> leases;
      {
        MutexLock lock(finishing.mutex);
        if (finishing.leases.empty()) {
          finishing.changed.WaitFor(finishing.mutex, absl::Milliseconds(100));
        }
        leases = std::exchange(finishing.leases, {});
      }
      if (!leases.empty()) worker.Finish(leases);
    }
  }

  void Take(SlotWorker& worker, Finishing& finishing) {
    while (!stopping_) {
      const std::vector<v1::Lease> leases = worker.Take(1);
      const absl::Time now = RealClock::Get().Now();
      if (leases.empty()) continue;
      {
        MutexLock lock(mutex_);
        for (const v1::Lease& lease : leases) {
          const auto found = begun_.find(lease.run().substr(lease.run().rfind('/') + 1));
          Require(found != begun_.end(), "a run was leased twice");
          delays_.push_back(absl::ToDoubleMilliseconds(now - found->second));
          begun_.erase(found);
        }
      }
      MutexLock lock(finishing.mutex);
      finishing.leases.insert(finishing.leases.end(), leases.begin(), leases.end());
      finishing.changed.NotifyOne();
    }
  }

  v1::CreateRunRequest request_;
  std::unique_ptr<v1::RunService::Stub> stub_;
  std::vector<std::unique_ptr<SlotWorker>> workers_;
  std::vector<std::unique_ptr<Finishing>> finishing_;
  std::vector<std::thread> threads_;
  std::atomic<bool> stopping_{false};
  int number_ = 0;
  Mutex mutex_;
  std::map<std::string, absl::Time> begun_ ABSL_GUARDED_BY(mutex_);
  std::vector<double> delays_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

std::vector<Result> DispatchRuns() {
  const TestInstallation installation;
  const DaemonProcess daemon(installation);
  MakeOwners(installation, kOwners, 1'000'000);
  CreateFirst(installation, daemon);
  Dispatch dispatch(installation, daemon);
  dispatch.Measure(500, absl::Seconds(2));
  struct Theirs {
    explicit Theirs(const std::string& name) : peer(name) {}
    Peer peer;
    std::vector<double> p50, p99;
  };
  std::vector<std::unique_ptr<Theirs>> peers;
  for (const std::string& name : Peer::Installed()) {
    // Its own work() looks twice a second.
    if (name != "pg-boss") peers.push_back(std::make_unique<Theirs>(name));
  }
  std::vector<Result> results;
  for (const int rate : {50, 500}) {
    std::vector<double> p50, p99;
    for (const auto& theirs : peers) theirs->p50 = theirs->p99 = {};
    for (int round = 0; round < kRounds; ++round) {
      std::vector<double> delays = dispatch.Measure(rate, absl::Seconds(6));
      p50.push_back(Percentile(delays, 0.5));
      p99.push_back(Percentile(delays, 0.99));
      for (const auto& theirs : peers) {
        const auto measured = theirs->peer.Run("dispatch", 6, rate);
        theirs->p50.push_back(measured.at("p50_ms"));
        theirs->p99.push_back(measured.at("p99_ms"));
      }
    }
    Result result;
    result.name = absl::StrCat("dispatch ", rate, "/s");
    result.workload = absl::StrCat(kWorkers, " idle workers, ", rate,
                                   " CreateRun calls a second, each run ended at once");
    result.measured =
        absl::StrCat("from the call to the lease at the worker: p50 ", MedianAndRange(p50, 1),
                     " ms, p99 ", MedianAndRange(p99, 1), " ms");
    result.numbers = {{"p50_ms", Median(p50)}, {"p99_ms", Median(p99)}};
    if (!peers.empty()) result.goal = "p50 and p99 <= 1 x the better one";
    result.met = true;
    for (const auto& theirs : peers) {
      absl::StrAppend(&result.against, result.against.empty() ? "" : "; ", theirs->peer.name(),
                      ", from the call to the job's start: p50 ", MedianAndRange(theirs->p50, 1),
                      " ms, p99 ", MedianAndRange(theirs->p99, 1), " ms");
      result.met =
          result.met && Median(p50) <= Median(theirs->p50) && Median(p99) <= Median(theirs->p99);
      result.numbers[theirs->peer.name() + "_p50_ms"] = Median(theirs->p50);
      result.numbers[theirs->peer.name() + "_p99_ms"] = Median(theirs->p99);
    }
    results.push_back(result);
  }
  CheckCounters(installation);
  return results;
}

}  // namespace finetuned::bench
