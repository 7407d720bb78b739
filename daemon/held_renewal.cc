#include "daemon/held_renewal.h"

#include <memory>

#include <grpcpp/alarm.h>

#include "daemon/worker_messages.h"
#include "queue/report.h"

namespace finetuned {
namespace {

class HeldRenewal : public std::enable_shared_from_this<HeldRenewal> {
 public:
  HeldRenewal(const ServiceCore& core, grpc::CallbackServerContext* context,
              const v1::RenewLeasesRequest* request, v1::RenewLeasesResponse* response,
              absl::Duration hold, Done done)
      : core_(core),
        context_(context),
        request_(*request),
        response_(*response),
        deadline_(core.clock->SinceBoot() + hold),
        done_(std::move(done)) {}

  // Follows the runs first and renews then, so that no change falls between. What is not held
  // needs no following.
  void Start() {
    if (deadline_ > core_.clock->SinceBoot()) Follow();
    Renew();
  }

 private:
  void Follow() {
    std::vector<int64_t> run_ids;
    for (const auto& item : request_.items()) run_ids.push_back(item.attempt().run_id());
    auto self = shared_from_this();
    // The hub keeps this alive until it is answered; the alarm, which this owns, must not.
    const int64_t subscription =
        core_.hub->Subscribe(run_ids, RunHub::Change::kDesired, [self] { self->Wake(); });
    {
      MutexLock lock(mutex_);
      subscription_ = subscription;
    }
  }

  void Renew() {
    RenewalItem item;
    item.session = request_.session();
    item.draining = request_.draining();
    for (const auto& entry : request_.items())
      item.attempts.push_back(ToAttemptId(entry.attempt()));
    auto self = shared_from_this();
    core_.renew_batcher->Submit(std::move(item), [self](absl::StatusOr<RenewalResult> result) {
      self->Renewed(std::move(result));
    });
  }

  void Renewed(absl::StatusOr<RenewalResult> result) {
    if (!result.ok()) return Answer(result.status());
    if (!result->session_is_current) return Answer(SessionSupersededError());
    bool news = false;
    response_.clear_results();
    *response_.mutable_times() = TimesOf(core_.lease_times);
    for (const auto& item : request_.items()) {
      const AttemptId attempt = ToAttemptId(item.attempt());
      auto* entry = response_.add_results();
      *entry->mutable_attempt() = item.attempt();
      const auto held = result->held.find(attempt);
      if (held == result->held.end()) {
        *entry->mutable_status() = ToProto(LeaseLostError(attempt.run_id, attempt.epoch));
        news = true;
        continue;
      }
      entry->set_desired_stop(static_cast<v1::StopKind>(held->second));
      news = news || entry->desired_stop() != item.known_stop();
    }
    const absl::Duration left = deadline_ - core_.clock->SinceBoot();
    if (news || left <= absl::ZeroDuration() || context_->IsCancelled() || core_.hub->closed()) {
      return Answer(absl::OkStatus());
    }
    Hold(left);
  }

  // Waits for a change or for the time; either renews once more, which is what is answered from.
  void Hold(absl::Duration left) {
    {
      MutexLock lock(mutex_);
      if (!woken_) {
        holding_ = true;
        alarm_ = std::make_unique<grpc::Alarm>();
        alarm_->Set(std::chrono::system_clock::now() + absl::ToChronoMilliseconds(left),
                    // An alarm that is replaced, because a wake came first, is called too.
                    [weak = weak_from_this()](bool expired) {
                      const auto waiting = weak.lock();
                      if (expired && waiting != nullptr) waiting->Wake();
                    });
        return;
      }
      woken_ = false;
    }
    Renew();
  }

  void Wake() {
    {
      MutexLock lock(mutex_);
      if (!holding_) {
        woken_ = true;
        return;
      }
      holding_ = false;
    }
    Renew();
  }

  void Answer(const absl::Status& status) {
    int64_t subscription;
    {
      MutexLock lock(mutex_);
      subscription = subscription_;
    }
    if (subscription != 0) core_.hub->Unsubscribe(subscription);
    done_(status);
  }

  // Constant after construction. Request, response and context live until done_ is called.
  const ServiceCore& core_;
  grpc::CallbackServerContext* const context_;
  const v1::RenewLeasesRequest& request_;
  v1::RenewLeasesResponse& response_;
  const absl::Duration deadline_;
  const Done done_;

  Mutex mutex_;
  // Nothing is on its way: whoever wakes renews. Otherwise a wake is remembered.
  bool holding_ ABSL_GUARDED_BY(mutex_) = false;
  bool woken_ ABSL_GUARDED_BY(mutex_) = false;
  int64_t subscription_ ABSL_GUARDED_BY(mutex_) = 0;
  std::unique_ptr<grpc::Alarm> alarm_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

void StartRenewal(const ServiceCore& core, grpc::CallbackServerContext* context,
                  const v1::RenewLeasesRequest* request, v1::RenewLeasesResponse* response,
                  absl::Duration hold, Done done) {
  std::make_shared<HeldRenewal>(core, context, request, response, hold, std::move(done))->Start();
}

}  // namespace finetuned
