#include "daemon/watch_events.h"

#include <memory>

#include <grpcpp/alarm.h>

#include "absl/strings/str_cat.h"
#include "base/time.h"
#include "daemon/checker.h"
#include "daemon/resource_name.h"
#include "daemon/run_service.h"
#include "daemon/run_view.h"

namespace finetuned {
namespace {

// One stream. The reactor that gRPC holds is a thin handle; this outlives it while a task of the
// executor still looks at it. At any time there is at most one task and one write.
class Watch : public std::enable_shared_from_this<Watch> {
 public:
  class Reactor final : public grpc::ServerWriteReactor<v1::WatchEventsResponse> {
   public:
    explicit Reactor(std::shared_ptr<Watch> watch) : watch_(std::move(watch)) {}
    void OnWriteDone(bool ok) override { watch_->WriteDone(ok); }
    void OnCancel() override { watch_->Cancelled(); }
    void OnDone() override {
      watch_->Closed();
      delete this;
    }

   private:
    const std::shared_ptr<Watch> watch_;
  };

  Watch(const ServiceCore& core, StreamLimits* limits, grpc::CallbackServerContext* context,
        const google::protobuf::MethodDescriptor* method, const v1::WatchEventsRequest& request)
      : core_(core),
        limits_(*limits),
        authorization_(AuthorizationOf(*context)),
        method_(method),
        request_(request),
        start_(core.clock->SinceBoot()),
        last_sent_(request.after_seq()) {}

  grpc::ServerWriteReactor<v1::WatchEventsResponse>* Start() {
    reactor_ = new Reactor(shared_from_this());
    auto* reactor = reactor_;
    Schedule([this] { Open(); });
    return reactor;
  }

 private:
  // Runs a step on the executor unless the stream is over.
  void Schedule(std::function<void()> step) {
    auto self = shared_from_this();
    if (!core_.call.executor->Submit([self, step = std::move(step)] { step(); })) {
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
    Checker check;
    check.AddAll(ParseRunName(request_.name(), *caller).status());
    check.AddAll(CheckCursor(request_.after_seq(), kAnySeq));
    if (!check.violations().empty()) return Finish(InvalidArgument(check.violations()));
    const auto run_id = FindRun(core_, *caller, request_.name());
    if (!run_id.ok()) return Finish(run_id.status());
    const auto marks = core_.reader->Watch({*run_id});
    if (!marks.ok()) return Finish(marks.status());
    const absl::Status cursor = CheckCursor(request_.after_seq(), marks->at(*run_id).last_seq);
    if (!cursor.ok()) return Finish(cursor);
    auto weak = weak_from_this();
    const absl::Status admitted = limits_.Add(caller->owner_id, this, [weak] {
      if (const auto self = weak.lock()) {
        self->Finish(self->limits_.Stopping());
      }
    });
    if (!admitted.ok()) return Finish(admitted);
    core_.metrics->StreamOpened();
    const int64_t subscription = core_.hub->Subscribe({*run_id}, RunHub::Change::kEvents, [weak] {
      if (const auto self = weak.lock()) self->Look(/*bookmark=*/false);
    });
    bool closed;
    {
      MutexLock lock(mutex_);
      run_id_ = *run_id;
      subscription_ = subscription;
      opened_ = true;
      closed = closed_;
    }
    // The caller went while this was under way.
    if (closed) return Release();
    Look(/*bookmark=*/true);
  }

  // Gives back what Open has taken.
  void Release() {
    int64_t subscription;
    {
      MutexLock lock(mutex_);
      subscription = subscription_;
    }
    core_.hub->Unsubscribe(subscription);
    limits_.Remove(this);
    core_.metrics->StreamClosed();
  }

  // Whether the caller may still follow: its token may have ended since, or what it sees.
  absl::Status StillAllowed() {
    FT_ASSIGN_OR_RETURN(const Identity caller, Authorize(core_.call, authorization_, method_));
    return FindRun(core_, caller, request_.name()).status();
  }

  // Asks for a step; while one is under way it is made after that.
  void Look(bool bookmark) {
    {
      MutexLock lock(mutex_);
      wants_look_ = true;
      wants_bookmark_ = wants_bookmark_ || bookmark;
      if (busy_ || finished_ || !opened_) return;
      busy_ = true;
    }
    Schedule([this] { Step(); });
  }

  void Step() {
    bool bookmark;
    int64_t after;
    {
      MutexLock lock(mutex_);
      wants_look_ = false;
      bookmark = wants_bookmark_;
      wants_bookmark_ = false;
      after = last_sent_;
    }
    if (bookmark) {
      const absl::Status allowed = StillAllowed();
      if (!allowed.ok()) return Finish(allowed);
    }
    // The row first, then the log: the log then has everything up to the row's last_seq.
    auto run = bookmark ? ReadRun(core_, run_id_) : absl::StatusOr<v1::Run>(v1::Run());
    if (!run.ok()) return Finish(run.status());
    const auto marks = core_.reader->Watch({run_id_});
    if (!marks.ok()) return Finish(marks.status());
    const RunMark mark = marks->at(run_id_);
    const auto events = core_.reader->ListEvents(run_id_, after, kMaxEventsPerMessage);
    if (!events.ok()) return Finish(events.status());
    v1::WatchEventsResponse message;
    const size_t added = AddEvents(*events, message.mutable_events());
    const int64_t newest = added == 0 ? after : (*events)[added - 1].seq;
    const bool ends = IsTerminal(mark.state) && newest >= mark.last_seq;
    if (ends && !bookmark) {
      // The last message shows how the run ended.
      run = ReadRun(core_, run_id_);
      if (!run.ok()) return Finish(run.status());
      bookmark = true;
    }
    if (events->empty() && !bookmark) return Rest();
    message.set_bookmark_seq(newest);
    if (bookmark) *message.mutable_run() = *std::move(run);
    Write(std::move(message), newest, ends,
          added < events->size() || added == size_t{kMaxEventsPerMessage});
  }

  void Write(v1::WatchEventsResponse message, int64_t newest, bool ends, bool more) {
    MutexLock lock(mutex_);
    if (finished_) return;
    message_ = std::move(message);
    last_sent_ = newest;
    ends_after_write_ = ends;
    wants_look_ = wants_look_ || more;
    writing_ = true;
    reactor_->StartWrite(&message_);
  }

  void WriteDone(bool ok) {
    {
      MutexLock lock(mutex_);
      writing_ = false;
      if (!ok || finished_) {
        busy_ = false;
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
        auto weak = weak_from_this();
        alarm_ = std::make_unique<grpc::Alarm>();
        alarm_->Set(
            std::chrono::system_clock::now() + absl::ToChronoMilliseconds(kBookmarkInterval),
            [weak](bool expired) {
              const auto self = weak.lock();
              if (expired && self != nullptr) self->Look(/*bookmark=*/true);
            });
        return;
      }
    }
    Look(/*bookmark=*/false);
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
      opened = opened_;
    }
    // Otherwise Open gives back what it takes.
    if (opened) Release();
    core_.metrics->RpcEnded(method_->name(), code_, core_.clock->SinceBoot() - start_);
  }

  // Constant after construction, run_id_ after Open.
  const ServiceCore& core_;
  StreamLimits& limits_;
  // Read at once: the context ends with the reactor, which a step may outlive.
  const std::string authorization_;
  const google::protobuf::MethodDescriptor* const method_;
  const v1::WatchEventsRequest request_;
  const absl::Duration start_;
  Reactor* reactor_ = nullptr;
  int64_t run_id_ = 0;

  Mutex mutex_;
  int64_t subscription_ ABSL_GUARDED_BY(mutex_) = 0;
  bool opened_ ABSL_GUARDED_BY(mutex_) = false;
  // gRPC has ended with the stream.
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  // A step or a write is under way.
  bool busy_ ABSL_GUARDED_BY(mutex_) = false;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool wants_look_ ABSL_GUARDED_BY(mutex_) = false;
  bool wants_bookmark_ ABSL_GUARDED_BY(mutex_) = false;
  bool ends_after_write_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  absl::StatusCode code_ ABSL_GUARDED_BY(mutex_) = absl::StatusCode::kOk;
  int64_t last_sent_ ABSL_GUARDED_BY(mutex_);
  v1::WatchEventsResponse message_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<grpc::Alarm> alarm_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

absl::Status CheckCursor(int64_t after_seq, int64_t last_seq) {
  if (after_seq < 0) return InvalidArgument({{"after_seq", "is negative", "BAD_CURSOR"}});
  if (after_seq > last_seq) {
    return MakeError(
        absl::StatusCode::kOutOfRange, "CURSOR_AHEAD",
        absl::StrCat("after_seq: ", after_seq, " is beyond the newest event, ", last_seq),
        {{"last_seq", absl::StrCat(last_seq)}});
  }
  return absl::OkStatus();
}

grpc::ServerWriteReactor<v1::WatchEventsResponse>* StartWatch(
    const ServiceCore& core, StreamLimits* limits, grpc::CallbackServerContext* context,
    const google::protobuf::MethodDescriptor* method, const v1::WatchEventsRequest& request) {
  return std::make_shared<Watch>(core, limits, context, method, request)->Start();
}

}  // namespace finetuned
