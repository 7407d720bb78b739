#include "daemon/download.h"

#include <memory>
#include <optional>

#include "absl/strings/str_cat.h"
#include "artifacts/artifact_file.h"
#include "daemon/artifact_service.h"

namespace finetuned {
namespace {

// The reactor that gRPC holds is a thin handle; this outlives it while a task still looks at it. At
// any time there is at most one task and one write.
class Download : public std::enable_shared_from_this<Download> {
 public:
  class Reactor final : public grpc::ServerWriteReactor<v1::ReadArtifactResponse> {
   public:
    explicit Reactor(std::shared_ptr<Download> download) : download_(std::move(download)) {}
    void OnWriteDone(bool ok) override { download_->WriteDone(ok); }
    void OnCancel() override { download_->Finish(absl::CancelledError("the caller has gone")); }
    void OnDone() override {
      download_->Closed();
      delete this;
    }

   private:
    const std::shared_ptr<Download> download_;
  };

  Download(const ServiceCore& core, Executor* files, StreamLimits* limits,
           grpc::CallbackServerContext* context, const google::protobuf::MethodDescriptor* method,
           const v1::ReadArtifactRequest& request)
      : core_(core),
        files_(*files),
        limits_(*limits),
        authorization_(AuthorizationOf(*context)),
        method_(method),
        request_(request),
        start_(core.clock->SinceBoot()),
        offset_(request.offset()) {}

  grpc::ServerWriteReactor<v1::ReadArtifactResponse>* Start() {
    reactor_ = new Reactor(shared_from_this());
    auto* reactor = reactor_;
    Schedule(*core_.call.executor, [this] { Authorized(); });
    return reactor;
  }

 private:
  void Schedule(Executor& executor, std::function<void()> step) {
    auto self = shared_from_this();
    if (!executor.Submit([self, step = std::move(step)] { step(); })) Finish(limits_.Stopping());
  }

  // On the executor of all calls: who asks, and for what.
  void Authorized() {
    const auto caller = Authorize(core_.call, authorization_, method_);
    if (!caller.ok()) return Finish(caller.status());
    if (offset_ < 0) {
      return Finish(InvalidArgument({{"offset", "is negative", "BAD_OFFSET"}}));
    }
    const auto place = FindArtifact(core_, *caller, request_.parent(), request_.path());
    if (!place.ok()) return Finish(place.status());
    if (place->path.empty()) {
      return Finish(InvalidArgument({{"path", "is required: a file", "REQUIRED"}}));
    }
    auto weak = weak_from_this();
    const absl::Status admitted = limits_.Add(caller->owner_id, this, [weak] {
      if (const auto self = weak.lock()) self->Finish(self->limits_.Stopping());
    });
    if (!admitted.ok()) return Finish(admitted);
    bool closed;
    {
      MutexLock lock(mutex_);
      counted_ = true;
      closed = closed_;
    }
    // The caller went while this was under way.
    if (closed) return limits_.Remove(this);
    Schedule(files_, [this, place = *place] { Open(place); });
  }

  void Open(const ArtifactPlace& place) {
    auto file = ArtifactFile::Open(core_.artifact_root, absl::StrCat(place.top, "/", place.path));
    if (!file.ok()) return Finish(ArtifactError(file.status(), place));
    if (offset_ > file->size_bytes()) {
      return Finish(MakeError(absl::StatusCode::kOutOfRange, "OFFSET_BEYOND_END",
                              absl::StrCat("offset: ", offset_, " is beyond the end; the file has ",
                                           file->size_bytes(), " bytes"),
                              {{"size_bytes", absl::StrCat(file->size_bytes())}}));
    }
    file_ = *std::move(file);
    Piece(/*first=*/true);
  }

  // Reads the next piece and sends it.
  void Piece(bool first) {
    auto data = file_->Read(offset_, ArtifactService::kPieceBytes);
    if (!data.ok()) return Finish(ArtifactError(data.status(), {"", request_.path()}));
    if (data->empty() && !first) return Finish(absl::OkStatus());
    offset_ += static_cast<int64_t>(data->size());
    MutexLock lock(mutex_);
    if (finished_) return;
    message_.Clear();
    if (first) message_.set_size_bytes(file_->size_bytes());
    *message_.mutable_data() = *std::move(data);
    reactor_->StartWrite(&message_);
  }

  void WriteDone(bool ok) {
    if (!ok) return Finish(absl::CancelledError("the caller has gone"));
    Schedule(files_, [this] { Piece(/*first=*/false); });
  }

  void Finish(const absl::Status& status) {
    MutexLock lock(mutex_);
    if (finished_) return;
    finished_ = true;
    code_ = status.code();
    reactor_->Finish(ToGrpc(status));
  }

  // The reactor is gone: nothing of gRPC may be touched any more.
  void Closed() {
    bool counted;
    absl::StatusCode code;
    {
      MutexLock lock(mutex_);
      finished_ = true;
      closed_ = true;
      counted = counted_;
      code = code_;
    }
    if (counted) limits_.Remove(this);
    core_.metrics->RpcEnded(method_->name(), code, core_.clock->SinceBoot() - start_);
  }

  // Constant after construction.
  const ServiceCore& core_;
  Executor& files_;
  StreamLimits& limits_;
  // Read at once: the context ends with the reactor, which a step may outlive.
  const std::string authorization_;
  const google::protobuf::MethodDescriptor* const method_;
  const v1::ReadArtifactRequest request_;
  const absl::Duration start_;
  Reactor* reactor_ = nullptr;

  // Touched by one task at a time.
  std::optional<ArtifactFile> file_;
  int64_t offset_;

  Mutex mutex_;
  bool counted_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  // gRPC has ended with the stream.
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  absl::StatusCode code_ ABSL_GUARDED_BY(mutex_) = absl::StatusCode::kOk;
  v1::ReadArtifactResponse message_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

grpc::ServerWriteReactor<v1::ReadArtifactResponse>* StartDownload(
    const ServiceCore& core, Executor* files, StreamLimits* limits,
    grpc::CallbackServerContext* context, const google::protobuf::MethodDescriptor* method,
    const v1::ReadArtifactRequest& request) {
  return std::make_shared<Download>(core, files, limits, context, method, request)->Start();
}

}  // namespace finetuned
