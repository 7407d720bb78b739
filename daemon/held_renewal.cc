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

  void Start() { Renew(); }

 private:
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
    if (news || left <= absl::ZeroDuration() || context_->IsCancelled())
      return Answer(absl::OkStatus());
    Hold(left);
  }

  // Waits for a change or for the time; either renews once more, which is what is answered from.
  void Hold(absl::Duration left) {
    std::vector<int64_t> run_ids;
    for (const auto& item : request_.items()) run_ids.push_back(item.attempt().run_id());
    auto self = shared_from_this();
    MutexLock lock(mutex_);
    holding_ = true;
    // The hub keeps this alive while it waits; the alarm, which this owns, must not.
    subscription_ =
        core_.hub->Subscribe(run_ids, RunHub::Change::kDesired, [self] { self->Wake(); });
    alarm_ = std::make_unique<grpc::Alarm>();
    alarm_->Set(std::chrono::system_clock::now() + absl::ToChronoMilliseconds(left),
                [weak = weak_from_this()](bool) {
                  if (const auto waiting = weak.lock()) waiting->Wake();
                });
  }

  void Wake() {
    int64_t subscription;
    {
      MutexLock lock(mutex_);
      if (!holding_) return;
      holding_ = false;
      subscription = subscription_;
    }
    core_.hub->Unsubscribe(subscription);
    Renew();
  }

  void Answer(const absl::Status& status) { done_(status); }

  // Constant after construction. Request, response and context live until done_ is called.
  const ServiceCore& core_;
  grpc::CallbackServerContext* const context_;
  const v1::RenewLeasesRequest& request_;
  v1::RenewLeasesResponse& response_;
  const absl::Duration deadline_;
  const Done done_;

  Mutex mutex_;
  bool holding_ ABSL_GUARDED_BY(mutex_) = false;
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
