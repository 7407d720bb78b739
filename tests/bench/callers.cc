#include "tests/bench/callers.h"

#include <memory>

#include <grpcpp/grpcpp.h>

#include "base/clock.h"
#include "base/grpc_status.h"
#include "base/mutex.h"
#include "base/status.h"
#include "tests/bench/channel.h"
#include "tests/bench/require.h"

namespace finetuned::bench {
namespace {

constexpr int kConnections = 8;

class Callers {
 public:
  Callers(const std::string& address, absl::Time end, const std::function<CreateCall()>& next,
          const std::function<void(const v1::Run&)>& created)
      : end_(end), next_(next), created_(created) {
    for (int i = 0; i < kConnections; ++i) {
      stubs_.push_back(v1::RunService::NewStub(MakeChannel(address)));
    }
  }

  CallsMade Run(int concurrency) {
    const absl::Time begin = RealClock::Get().Now();
    for (int i = 0; i < concurrency; ++i) Start(i);
    MutexLock lock(mutex_);
    while (under_way_ > 0) ended_.WaitFor(mutex_, absl::Seconds(1));
    made_.time = RealClock::Get().Now() - begin;
    return std::move(made_);
  }

 private:
  struct Call {
    explicit Call(Callers* callers) : callers_(*callers) {}
    // Only now is gRPC done with it.
    ~Call() { callers_.Gone(); }

    Callers& callers_;
    grpc::ClientContext context;
    v1::CreateRunRequest request;
    v1::Run response;
    absl::Time begin;
  };

  void Start(int number) {
    const auto call = std::make_shared<Call>(this);
    {
      MutexLock lock(mutex_);
      ++under_way_;
      CreateCall wanted = next_();
      call->request = std::move(wanted.request);
      call->context.AddMetadata("authorization", "Bearer " + wanted.token);
    }
    call->begin = RealClock::Get().Now();
    stubs_[static_cast<size_t>(number % kConnections)]->async()->CreateRun(
        &call->context, &call->request, &call->response,
        [this, call, number](const grpc::Status& status) { End(*call, number, FromGrpc(status)); });
  }

  void End(const Call& call, int number, const absl::Status& status) {
    const absl::Time now = RealClock::Get().Now();
    const double delay = absl::ToDoubleMilliseconds(now - call.begin);
    const bool rejected = ErrorReason(status) == "ACTIVE_RUNS_QUOTA";
    if (!status.ok() && !rejected) fprintf(stderr, "%s\n", status.ToString().c_str());
    Require(status.ok() || rejected, "a create failed");
    {
      MutexLock lock(mutex_);
      (rejected ? made_.rejected_delays : made_.delays).push_back(delay);
      if (status.ok() && created_) created_(call.response);
    }
    if (now < end_) Start(number);
  }

  void Gone() {
    MutexLock lock(mutex_);
    --under_way_;
    ended_.NotifyAll();
  }

  const absl::Time end_;
  const std::function<CreateCall()>& next_;
  const std::function<void(const v1::Run&)>& created_;
  std::vector<std::unique_ptr<v1::RunService::Stub>> stubs_;
  Mutex mutex_;
  CondVar ended_;
  int under_way_ ABSL_GUARDED_BY(mutex_) = 0;
  CallsMade made_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

CallsMade CreateRuns(const std::string& address, int concurrency, absl::Duration time,
                     const std::function<CreateCall()>& next,
                     const std::function<void(const v1::Run&)>& created) {
  return Callers(address, RealClock::Get().Now() + time, next, created).Run(concurrency);
}

}  // namespace finetuned::bench
