#include "daemon/stream.h"

#include <algorithm>
#include <memory>
#include <utility>

#include <grpcpp/alarm.h>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace finetuned {
namespace {

// One stream. The reactor that gRPC holds is a thin handle; this outlives it while a task of the
// executor still looks at it. At any time there is at most one task and one write.
class Stream : public std::enable_shared_from_this<Stream> {
 public:
  class Reactor final : public grpc::ServerWriteReactor<grpc::ByteBuffer> {
   public:
    explicit Reactor(std::shared_ptr<Stream> stream) : stream_(std::move(stream)) {}
    void OnWriteDone(bool ok) override { stream_->WriteDone(ok); }
    void OnCancel() override { stream_->Cancelled(); }
    void OnDone() override {
      stream_->Closed();
      delete this;
    }

   private:
    const std::shared_ptr<Stream> stream_;
  };

  Stream(const ServiceCore& core, Executor* executor, StreamLimits* limits,
         grpc::CallbackServerContext* context, const google::protobuf::MethodDescriptor* method,
         std::unique_ptr<StreamSource> source)
      : core_(core),
        executor_(*executor),
        limits_(*limits),
        authorization_(AuthorizationOf(*context)),
        method_(method),
        start_(core.clock->SinceBoot()),
        context_(context),
        source_(std::move(source)) {}

  grpc::ServerWriteReactor<grpc::ByteBuffer>* Start() {
    reactor_ = new Reactor(shared_from_this());
    auto* reactor = reactor_;
    Schedule([this] { Open(); });
    return reactor;
  }

 private:
  // Runs a step on the executor unless the stream is over.
  void Schedule(std::function<void()> step) {
    auto self = shared_from_this();
    if (!executor_.Submit([self, step = std::move(step)] { step(); })) {
      Finish(limits_.Stopping());
    }
  }

  void Open() {
    {
      MutexLock lock(mutex_);
      if (finished_) return;
    }
    const auto caller = Authorize(core_.call, authorization_, method_);
    if (!caller.ok()) return Finish(caller.status());
    if (source_ == nullptr) {
      return Finish(
          MakeError(absl::StatusCode::kInvalidArgument, "MALFORMED",
                    absl::StrCat("the request's bytes are no ", method_->input_type()->name())));
    }
    auto weak = weak_from_this();
    const absl::Status opened = source_->Open(*caller, [weak] {
      if (const auto self = weak.lock()) self->Look(/*bookmark=*/false);
    });
    if (!opened.ok()) return Finish(opened);
    const absl::Status admitted = limits_.Add(caller->owner_id, this, [weak] {
      if (const auto self = weak.lock()) {
        self->Finish(self->limits_.Stopping());
      }
    });
    if (!admitted.ok()) return Finish(admitted);
    core_.metrics->StreamOpened();
    bool closed;
    {
      MutexLock lock(mutex_);
      opened_ = true;
      closed = closed_;
    }
    // The caller went while this was under way.
    if (closed) return Release();
    Look(/*bookmark=*/true);
  }

  // Gives back what Open has taken.
  void Release() {
    limits_.Remove(this);
    core_.metrics->StreamClosed();
  }

  // Whether the caller may still follow: its token may have ended since, or what it sees.
  absl::Status StillAllowed() {
    FT_ASSIGN_OR_RETURN(const Identity caller, Authorize(core_.call, authorization_, method_));
    return source_->CheckAccess(caller);
  }

  // Asks for a step; while one is under way it is made after that.
  void Look(bool bookmark) {
    {
      MutexLock lock(mutex_);
      wants_look_ = true;
      wants_bookmark_ = wants_bookmark_ || bookmark;
      if (busy_ || finished_ || !opened_ || (!wants_bookmark_ && IsTooSoon())) return;
      busy_ = true;
    }
    Schedule([this] { Step(); });
  }

  // Whether the source is not to be asked again yet; then it is asked when it is time.
  bool IsTooSoon() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (has_more_) return false;
    const absl::Duration wait = asked_ + source_->pace() - core_.clock->SinceBoot();
    if (wait <= absl::ZeroDuration()) return false;
    if (!postponed_) SetAlarm(wait, [](Stream* self) { self->LookPostponed(); });
    postponed_ = true;
    return true;
  }

  void LookPostponed() {
    {
      MutexLock lock(mutex_);
      postponed_ = false;
    }
    Look(/*bookmark=*/false);
  }

  void Step() {
    bool bookmark;
    {
      MutexLock lock(mutex_);
      postponed_ = false;
      asked_ = core_.clock->SinceBoot();
      // However much there is to send: access is looked at with each.
      if (asked_ - bookmarked_ >= kBookmarkInterval) wants_bookmark_ = true;
      if (wants_bookmark_) bookmarked_ = asked_;
      wants_look_ = false;
      bookmark = wants_bookmark_;
      wants_bookmark_ = false;
    }
    if (bookmark) {
      const absl::Status allowed = StillAllowed();
      if (!allowed.ok()) return Finish(allowed);
    }
    auto next = source_->Next(bookmark);
    if (!next.ok()) return Finish(next.status());
    if (next->empty) {
      {
        MutexLock lock(mutex_);
        has_more_ = next->more;
        wants_look_ = wants_look_ || next->more || next->again;
      }
      return Rest();
    }
    MutexLock lock(mutex_);
    if (finished_) return;
    has_more_ = next->more;
    message_ = std::move(next->bytes);
    ends_after_write_ = next->last;
    wants_look_ = wants_look_ || next->more || next->again;
    writing_ = true;
    SetAlarm(kSlowConsumer, [](Stream* self) { self->TellSlow(); });
    reactor_->StartWrite(&message_);
  }

  // It is told why first, and cut off if it does not take that either.
  void TellSlow() {
    {
      MutexLock lock(mutex_);
      if (!writing_ || closed_) return;
      SetAlarm(kSlowConsumer / 2, [](Stream* self) { self->CutOff(); });
    }
    Finish(MakeError(absl::StatusCode::kAborted, "SLOW_CONSUMER",
                     "messages were not taken for too long: resume from the last one seen"));
  }

  void CutOff() {
    MutexLock lock(mutex_);
    if (writing_ && !closed_) context_->TryCancel();
  }

  void WriteDone(bool ok) {
    {
      MutexLock lock(mutex_);
      writing_ = false;
      if (!ok || finished_) {
        busy_ = false;
        alarm_.reset();
        if (!finished_) {
          finished_ = true;
          reactor_->Finish(grpc::Status::CANCELLED);
        }
        return;
      }
    }
    bool ends;
    {
      MutexLock lock(mutex_);
      ends = ends_after_write_;
    }
    if (ends) return Finish(absl::OkStatus());
    Rest();
  }

  // Nothing to send: waits for the next wake or for the time of the next bookmark.
  void Rest() {
    {
      MutexLock lock(mutex_);
      busy_ = false;
      if (finished_) return;
      if (!wants_look_ && !wants_bookmark_) {
        SetAlarm(kBookmarkInterval, [](Stream* self) { self->Look(/*bookmark=*/true); });
        return;
      }
    }
    Look(/*bookmark=*/false);
  }

  // One thing at a time is waited for, the last that was asked for. An alarm that rings before it
  // is time is set again then, so that not every message sets one and takes another back.
  void SetAlarm(absl::Duration after, void (*then)(Stream*)) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const absl::Duration now = core_.clock->SinceBoot();
    due_ = now + after;
    then_ = then;
    // What comes next is most often sooner than a consumer is slow.
    if (due_ < rings_) Arm(now, std::min(after, kBookmarkInterval));
  }

  void Arm(absl::Duration now, absl::Duration after) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    rings_ = now + after;
    auto weak = weak_from_this();
    alarm_ = std::make_unique<grpc::Alarm>();
    alarm_->Set(std::chrono::system_clock::now() +
                    absl::ToChronoMilliseconds(absl::Ceil(after, absl::Milliseconds(1))),
                [weak](bool expired) {
                  // One that is taken back must not be the last to hold the stream.
                  if (!expired) return;
                  if (const auto self = weak.lock()) self->Ring();
                });
  }

  void Ring() {
    void (*then)(Stream*) = nullptr;
    {
      MutexLock lock(mutex_);
      rings_ = absl::InfiniteDuration();
      if (closed_) return;
      const absl::Duration now = core_.clock->SinceBoot();
      if (now < due_) return Arm(now, due_ - now);
      std::swap(then, then_);
    }
    if (then != nullptr) then(this);
  }

  void Cancelled() { Finish(absl::CancelledError("the caller has gone")); }

  void Finish(const absl::Status& status) {
    MutexLock lock(mutex_);
    if (finished_) return;
    finished_ = true;
    code_ = status.code();
    reactor_->Finish(ToGrpc(status));
  }

  // The reactor is gone: nothing of gRPC may be touched any more.
  void Closed() {
    bool opened;
    {
      MutexLock lock(mutex_);
      finished_ = true;
      closed_ = true;
      writing_ = false;
      alarm_.reset();
      opened = opened_;
    }
    // Otherwise Open gives back what it takes.
    if (opened) Release();
    core_.metrics->RpcEnded(method_->name(), code_, core_.clock->SinceBoot() - start_);
  }

  // Constant after construction.
  const ServiceCore& core_;
  Executor& executor_;
  StreamLimits& limits_;
  // Read at once: the context ends with the reactor, which a step may outlive.
  const std::string authorization_;
  const google::protobuf::MethodDescriptor* const method_;
  const absl::Duration start_;
  // gRPC's, until closed_.
  grpc::CallbackServerContext* const context_;
  Reactor* reactor_ = nullptr;
  // Of the one task that is under way.
  const std::unique_ptr<StreamSource> source_;

  Mutex mutex_;
  bool opened_ ABSL_GUARDED_BY(mutex_) = false;
  // gRPC has ended with the stream.
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  // A step or a write is under way.
  bool busy_ ABSL_GUARDED_BY(mutex_) = false;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool wants_look_ ABSL_GUARDED_BY(mutex_) = false;
  bool wants_bookmark_ ABSL_GUARDED_BY(mutex_) = false;
  // There was more when the source was asked last, and when that was.
  bool has_more_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Duration asked_ ABSL_GUARDED_BY(mutex_) = -absl::InfiniteDuration();
  absl::Duration bookmarked_ ABSL_GUARDED_BY(mutex_) = -absl::InfiniteDuration();
  // The alarm is for a look that came too soon.
  bool postponed_ ABSL_GUARDED_BY(mutex_) = false;
  bool ends_after_write_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  absl::StatusCode code_ ABSL_GUARDED_BY(mutex_) = absl::StatusCode::kOk;
  grpc::ByteBuffer message_ ABSL_GUARDED_BY(mutex_);
  // What is waited for, and until when; and when the alarm rings, if one is set.
  void (*then_)(Stream*) ABSL_GUARDED_BY(mutex_) = nullptr;
  absl::Duration due_ ABSL_GUARDED_BY(mutex_);
  absl::Duration rings_ ABSL_GUARDED_BY(mutex_) = absl::InfiniteDuration();
  std::unique_ptr<grpc::Alarm> alarm_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

grpc::ServerWriteReactor<grpc::ByteBuffer>* StartStream(
    const ServiceCore& core, Executor* executor, StreamLimits* limits,
    grpc::CallbackServerContext* context, const google::protobuf::MethodDescriptor* method,
    std::unique_ptr<StreamSource> source) {
  return std::make_shared<Stream>(core, executor, limits, context, method, std::move(source))
      ->Start();
}

}  // namespace finetuned
