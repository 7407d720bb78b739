#pragma once

#include <memory>
#include <string>
#include <vector>

#include "daemon/service_core.h"
#include "daemon/stream_limits.h"
#include "finetuned/v1/run_service.grpc.pb.h"

namespace finetuned {

// RunService (proto/finetuned/v1/run_service.proto says what each call means). Handlers run on the
// executor; nothing blocks gRPC's threads. What is to be read from disks before a run is created is
// read on the executor of files.
class RunService final
    : public v1::RunService::WithRawCallbackMethod_ReadMetrics<
          v1::RunService::WithRawCallbackMethod_WatchEvents<v1::RunService::CallbackService>> {
  using Base = v1::RunService::WithRawCallbackMethod_ReadMetrics<
      v1::RunService::WithRawCallbackMethod_WatchEvents<v1::RunService::CallbackService>>;

 public:
  static constexpr int kMaxWatchesPerOwner = 64;

  explicit RunService(const ServiceCore* core)
      : core_(*core),
        streams_(kMaxWatchesPerOwner, "TOO_MANY_STREAMS", "resume from the last seq") {}

  // Ends all streams resumably; new ones are refused. Called when the daemon shuts down.
  void EndStreams() { streams_.Close(); }

  grpc::ServerUnaryReactor* CreateRun(grpc::CallbackServerContext* context,
                                      const v1::CreateRunRequest* request,
                                      v1::Run* response) override;
  grpc::ServerUnaryReactor* GetRun(grpc::CallbackServerContext* context,
                                   const v1::GetRunRequest* request, v1::Run* response) override;
  grpc::ServerUnaryReactor* UpdateRun(grpc::CallbackServerContext* context,
                                      const v1::UpdateRunRequest* request,
                                      v1::Run* response) override;
  grpc::ServerUnaryReactor* DeleteRun(grpc::CallbackServerContext* context,
                                      const v1::DeleteRunRequest* request,
                                      google::protobuf::Empty* response) override;
  grpc::ServerUnaryReactor* ListRuns(grpc::CallbackServerContext* context,
                                     const v1::ListRunsRequest* request,
                                     v1::ListRunsResponse* response) override;
  grpc::ServerUnaryReactor* CancelRuns(grpc::CallbackServerContext* context,
                                       const v1::CancelRunsRequest* request,
                                       v1::CancelRunsResponse* response) override;
  grpc::ServerUnaryReactor* PauseRun(grpc::CallbackServerContext* context,
                                     const v1::PauseRunRequest* request,
                                     v1::Run* response) override;
  grpc::ServerUnaryReactor* ResumeRun(grpc::CallbackServerContext* context,
                                      const v1::ResumeRunRequest* request,
                                      v1::Run* response) override;
  grpc::ServerUnaryReactor* ListRunEvents(grpc::CallbackServerContext* context,
                                          const v1::ListRunEventsRequest* request,
                                          v1::ListRunEventsResponse* response) override;
  grpc::ServerUnaryReactor* ListCheckpoints(grpc::CallbackServerContext* context,
                                            const v1::ListCheckpointsRequest* request,
                                            v1::ListCheckpointsResponse* response) override;
  grpc::ServerUnaryReactor* ListAttempts(grpc::CallbackServerContext* context,
                                         const v1::ListAttemptsRequest* request,
                                         v1::ListAttemptsResponse* response) override;
  using Base::ReadMetrics;
  using Base::WatchEvents;
  // Of serialised messages; see watch_events.h.
  grpc::ServerWriteReactor<grpc::ByteBuffer>* WatchEvents(grpc::CallbackServerContext* context,
                                                          const grpc::ByteBuffer* request) override;
  grpc::ServerWriteReactor<grpc::ByteBuffer>* ReadMetrics(grpc::CallbackServerContext* context,
                                                          const grpc::ByteBuffer* request) override;
  grpc::ServerUnaryReactor* ReadRunLog(grpc::CallbackServerContext* context,
                                       const v1::ReadRunLogRequest* request,
                                       v1::ReadRunLogResponse* response) override;
  grpc::ServerUnaryReactor* GetQuota(grpc::CallbackServerContext* context,
                                     const v1::GetQuotaRequest* request,
                                     v1::Quota* response) override;
  grpc::ServerUnaryReactor* ListWorkers(grpc::CallbackServerContext* context,
                                        const v1::ListWorkersRequest* request,
                                        v1::ListWorkersResponse* response) override;
  grpc::ServerUnaryReactor* GetWorker(grpc::CallbackServerContext* context,
                                      const v1::GetWorkerRequest* request,
                                      v1::Worker* response) override;
  grpc::ServerUnaryReactor* DrainWorker(grpc::CallbackServerContext* context,
                                        const v1::DrainWorkerRequest* request,
                                        v1::Worker* response) override;

 private:
  static const google::protobuf::MethodDescriptor* Method(const char* name);
  // Runs the task, which is to call `done`, where files are read; or calls it with UNAVAILABLE.
  void OnFiles(const Done& done, std::function<void()> task);
  // Admits the run, or tells what would come of it, and answers.
  void Create(const Identity& caller, ValidRun valid, const v1::CreateRunRequest& request,
              v1::Run* response, const Done& done);

  const ServiceCore& core_;
  StreamLimits streams_;
};

// The id of a run that the caller may see. INVALID_ARGUMENT, NOT_FOUND.
absl::StatusOr<int64_t> FindRun(const ServiceCore& core, const Identity& caller,
                                const std::string& name);

// The id of a run that is the caller's to change. INVALID_ARGUMENT, NOT_FOUND.
absl::StatusOr<int64_t> FindOwnRun(const ServiceCore& core, const Identity& caller,
                                   const std::string& name);

// A run as it is now, with the reason of its waiting.
absl::StatusOr<v1::Run> ReadRun(const ServiceCore& core, int64_t run_id);

// Of files of the run that are not there: NOT_FOUND `PAST_RETENTION` where they may have been
// deleted.
absl::Status CheckRetention(const ServiceCore& core, RetainedFiles files, int64_t run_id);

}  // namespace finetuned
