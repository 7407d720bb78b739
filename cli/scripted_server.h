#pragma once

#include <grpcpp/grpcpp.h>

#include <deque>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "cli/io.h"
#include "finetuned/v1/artifact_service.grpc.pb.h"
#include "finetuned/v1/experiment_service.grpc.pb.h"
#include "finetuned/v1/model_service.grpc.pb.h"
#include "finetuned/v1/run_service.grpc.pb.h"
#include "finetuned/v1/workspace_service.grpc.pb.h"

// For tests: the public services in this process, behind a real gRPC connection, that answer as
// they are told, and the outside of the program as strings.

namespace finetuned::cli {

// One streaming call, as it is to go.
template <typename Response>
struct Script {
  std::vector<Response> messages;
  // How it ends after the messages.
  absl::Status end;
  // Instead of an end: called once the messages are written, and then nothing until the client goes
  // away.
  std::function<void()> hang;
};
using StreamScript = Script<v1::WatchEventsResponse>;
using MetricScript = Script<v1::ReadMetricsResponse>;
using ArtifactScript = Script<v1::ReadArtifactResponse>;

class ScriptedServer final : public v1::RunService::CallbackService {
 public:
  template <typename Request, typename Response>
  using Handler = std::function<absl::Status(const Request&, Response*)>;

  // Listens on a free port of the loopback address.
  ScriptedServer();
  // Listens on it again, after Stop.
  void Start();
  ~ScriptedServer() override;

  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
  // Ends the server; its address then refuses connections.
  void Stop();
  // What the health service says of it; true at first.
  void SetServing(bool serving);

  // The answers; to be set before calls are made. Without one: UNIMPLEMENTED.
  Handler<v1::CreateRunRequest, v1::Run> create_run;
  Handler<v1::GetRunRequest, v1::Run> get_run;
  Handler<v1::UpdateRunRequest, v1::Run> update_run;
  Handler<v1::PauseRunRequest, v1::Run> pause_run;
  Handler<v1::ResumeRunRequest, v1::Run> resume_run;
  Handler<v1::DeleteRunRequest, google::protobuf::Empty> delete_run;
  Handler<v1::ListRunsRequest, v1::ListRunsResponse> list_runs;
  Handler<v1::CancelRunsRequest, v1::CancelRunsResponse> cancel_runs;
  Handler<v1::ListRunEventsRequest, v1::ListRunEventsResponse> list_run_events;
  Handler<v1::ListCheckpointsRequest, v1::ListCheckpointsResponse> list_checkpoints;
  Handler<v1::ListAttemptsRequest, v1::ListAttemptsResponse> list_attempts;
  Handler<v1::ReadRunLogRequest, v1::ReadRunLogResponse> read_run_log;
  // Without one: UNIMPLEMENTED, as of a daemon that has only events.
  std::function<MetricScript(const v1::ReadMetricsRequest&)> read_metrics;
  Handler<v1::GetQuotaRequest, v1::Quota> get_quota;
  Handler<v1::ListWorkersRequest, v1::ListWorkersResponse> list_workers;
  Handler<v1::GetWorkerRequest, v1::Worker> get_worker;
  Handler<v1::DrainWorkerRequest, v1::Worker> drain_worker;
  Handler<v1::ListExperimentsRequest, v1::ListExperimentsResponse> list_experiments;
  Handler<v1::GetExperimentRequest, v1::Experiment> get_experiment;
  Handler<v1::ListModelsRequest, v1::ListModelsResponse> list_models;
  Handler<v1::ListRegisteredModelsRequest, v1::ListRegisteredModelsResponse> list_registered_models;
  Handler<v1::GetRegisteredModelRequest, v1::RegisteredModel> get_registered_model;
  Handler<v1::ListArtifactsRequest, v1::ListArtifactsResponse> list_artifacts;
  std::function<ArtifactScript(const v1::ReadArtifactRequest&)> read_artifact;
  Handler<v1::GetWorkspaceRequest, v1::Workspace> get_workspace;
  Handler<v1::UpdateWorkspaceRequest, v1::Workspace> update_workspace;
  // The streams in their order; the last one is used again and again.
  std::deque<StreamScript> streams;

  // `after_seq` of each WatchEvents, and the authorization header of the last call.
  std::vector<int64_t> watched_after();
  std::string authorization();

 private:
  // The services beside RunService.
  class Experiments;
  class Models;
  class Artifacts;
  class Workspaces;

  template <typename Request, typename Response>
  grpc::ServerUnaryReactor* Answer(grpc::CallbackServerContext* context,
                                   const Handler<Request, Response>& handler,
                                   const Request* request, Response* response);
  void NoteCall(const grpc::CallbackServerContext& context);

  grpc::ServerUnaryReactor* CreateRun(grpc::CallbackServerContext*, const v1::CreateRunRequest*,
                                      v1::Run*) override;
  grpc::ServerUnaryReactor* GetRun(grpc::CallbackServerContext*, const v1::GetRunRequest*,
                                   v1::Run*) override;
  grpc::ServerUnaryReactor* UpdateRun(grpc::CallbackServerContext*, const v1::UpdateRunRequest*,
                                      v1::Run*) override;
  grpc::ServerUnaryReactor* PauseRun(grpc::CallbackServerContext*, const v1::PauseRunRequest*,
                                     v1::Run*) override;
  grpc::ServerUnaryReactor* ResumeRun(grpc::CallbackServerContext*, const v1::ResumeRunRequest*,
                                      v1::Run*) override;
  grpc::ServerUnaryReactor* DeleteRun(grpc::CallbackServerContext*, const v1::DeleteRunRequest*,
                                      google::protobuf::Empty*) override;
  grpc::ServerUnaryReactor* ListRuns(grpc::CallbackServerContext*, const v1::ListRunsRequest*,
                                     v1::ListRunsResponse*) override;
  grpc::ServerUnaryReactor* CancelRuns(grpc::CallbackServerContext*, const v1::CancelRunsRequest*,
                                       v1::CancelRunsResponse*) override;
  grpc::ServerUnaryReactor* ListRunEvents(grpc::CallbackServerContext*,
                                          const v1::ListRunEventsRequest*,
                                          v1::ListRunEventsResponse*) override;
  grpc::ServerUnaryReactor* ListCheckpoints(grpc::CallbackServerContext*,
                                            const v1::ListCheckpointsRequest*,
                                            v1::ListCheckpointsResponse*) override;
  grpc::ServerUnaryReactor* ListAttempts(grpc::CallbackServerContext*,
                                         const v1::ListAttemptsRequest*,
                                         v1::ListAttemptsResponse*) override;
  grpc::ServerUnaryReactor* ReadRunLog(grpc::CallbackServerContext*, const v1::ReadRunLogRequest*,
                                       v1::ReadRunLogResponse*) override;
  grpc::ServerUnaryReactor* GetQuota(grpc::CallbackServerContext*, const v1::GetQuotaRequest*,
                                     v1::Quota*) override;
  grpc::ServerUnaryReactor* ListWorkers(grpc::CallbackServerContext*, const v1::ListWorkersRequest*,
                                        v1::ListWorkersResponse*) override;
  grpc::ServerUnaryReactor* GetWorker(grpc::CallbackServerContext*, const v1::GetWorkerRequest*,
                                      v1::Worker*) override;
  grpc::ServerUnaryReactor* DrainWorker(grpc::CallbackServerContext*, const v1::DrainWorkerRequest*,
                                        v1::Worker*) override;
  grpc::ServerWriteReactor<v1::WatchEventsResponse>* WatchEvents(
      grpc::CallbackServerContext*, const v1::WatchEventsRequest*) override;
  grpc::ServerWriteReactor<v1::ReadMetricsResponse>* ReadMetrics(
      grpc::CallbackServerContext*, const v1::ReadMetricsRequest*) override;

  int port_ = 0;
  std::vector<std::unique_ptr<grpc::Service>> others_;
  std::unique_ptr<grpc::Server> server_;
  Mutex mutex_;
  std::vector<int64_t> watched_after_ ABSL_GUARDED_BY(mutex_);
  std::string authorization_ ABSL_GUARDED_BY(mutex_);
};

// The outside of the program. Waits move its clock and take no time.
struct TestIo {
  std::ostringstream out;
  std::ostringstream err;
  std::istringstream in;
  std::map<std::string, std::string> variables;
  FakeClock clock{absl::FromUnixSeconds(1767268800)};  // 2026-01-01T12:00:00Z
  Interrupt interrupt;
  // How often, and how long in all, something waited.
  int pauses = 0;
  absl::Duration paused;
  Io io{out,
        err,
        in,
        false,
        false,
        false,
        0,
        false,
        [this](const std::string& name) -> std::optional<std::string> {
          const auto found = variables.find(name);
          if (found == variables.end()) return std::nullopt;
          return found->second;
        },
        "/home/a",
        clock,
        interrupt,
        [this](absl::Duration duration) {
          ++pauses;
          paused += duration;
          clock.Advance(duration);
        }};
};

// A run, an event and a message of WatchEvents as tests need them.
v1::Run TestRun(const std::string& name, v1::Run::State state, int64_t last_seq = 0);
v1::RunEvent TestEvent(int64_t seq, v1::RunEvent::Type type);
v1::WatchEventsResponse TestMessage(const std::vector<v1::RunEvent>& events);
v1::WatchEventsResponse TestMessage(const v1::Run& run);

}  // namespace finetuned::cli
