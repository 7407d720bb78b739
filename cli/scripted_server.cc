#include "cli/scripted_server.h"

#include <grpcpp/health_check_service_interface.h>

#include <utility>

#include "base/grpc_status.h"
#include "base/time.h"

namespace finetuned::cli {
namespace {

template <typename Response>
class ScriptReactor final : public grpc::ServerWriteReactor<Response> {
 public:
  explicit ScriptReactor(Script<Response> script) : script_(std::move(script)) { Step(); }

  void OnWriteDone(bool ok) override {
    if (ok) {
      Step();
    } else {
      FinishOnce(grpc::Status::CANCELLED);
    }
  }
  void OnCancel() override { FinishOnce(grpc::Status::CANCELLED); }
  void OnDone() override { delete this; }

 private:
  void Step() {
    if (next_ < script_.messages.size()) {
      this->StartWrite(&script_.messages[next_++]);
    } else if (script_.hang) {
      script_.hang();
    } else {
      FinishOnce(ToGrpc(script_.end));
    }
  }

  void FinishOnce(const grpc::Status& status) {
    {
      MutexLock lock(mutex_);
      if (finished_) return;
      finished_ = true;
    }
    this->Finish(status);
  }

  Script<Response> script_;
  size_t next_ = 0;
  Mutex mutex_;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace

// Each hands its calls to the server's own handlers.
class ScriptedServer::Experiments final : public v1::ExperimentService::CallbackService {
 public:
  explicit Experiments(ScriptedServer& server) : server_(server) {}

 private:
  grpc::ServerUnaryReactor* ListExperiments(grpc::CallbackServerContext* context,
                                            const v1::ListExperimentsRequest* request,
                                            v1::ListExperimentsResponse* response) override {
    return server_.Answer(context, server_.list_experiments, request, response);
  }
  grpc::ServerUnaryReactor* GetExperiment(grpc::CallbackServerContext* context,
                                          const v1::GetExperimentRequest* request,
                                          v1::Experiment* response) override {
    return server_.Answer(context, server_.get_experiment, request, response);
  }

  ScriptedServer& server_;
};

class ScriptedServer::Models final : public v1::ModelService::CallbackService {
 public:
  explicit Models(ScriptedServer& server) : server_(server) {}

 private:
  grpc::ServerUnaryReactor* ListModels(grpc::CallbackServerContext* context,
                                       const v1::ListModelsRequest* request,
                                       v1::ListModelsResponse* response) override {
    return server_.Answer(context, server_.list_models, request, response);
  }
  grpc::ServerUnaryReactor* ListRegisteredModels(
      grpc::CallbackServerContext* context, const v1::ListRegisteredModelsRequest* request,
      v1::ListRegisteredModelsResponse* response) override {
    return server_.Answer(context, server_.list_registered_models, request, response);
  }
  grpc::ServerUnaryReactor* GetRegisteredModel(grpc::CallbackServerContext* context,
                                               const v1::GetRegisteredModelRequest* request,
                                               v1::RegisteredModel* response) override {
    return server_.Answer(context, server_.get_registered_model, request, response);
  }

  ScriptedServer& server_;
};

class ScriptedServer::Artifacts final : public v1::ArtifactService::CallbackService {
 public:
  explicit Artifacts(ScriptedServer& server) : server_(server) {}

 private:
  grpc::ServerUnaryReactor* ListArtifacts(grpc::CallbackServerContext* context,
                                          const v1::ListArtifactsRequest* request,
                                          v1::ListArtifactsResponse* response) override {
    return server_.Answer(context, server_.list_artifacts, request, response);
  }
  grpc::ServerWriteReactor<v1::ReadArtifactResponse>* ReadArtifact(
      grpc::CallbackServerContext* context, const v1::ReadArtifactRequest* request) override {
    server_.NoteCall(*context);
    return new ScriptReactor<v1::ReadArtifactResponse>(server_.read_artifact(*request));
  }

  ScriptedServer& server_;
};

class ScriptedServer::Workspaces final : public v1::WorkspaceService::CallbackService {
 public:
  explicit Workspaces(ScriptedServer& server) : server_(server) {}

 private:
  grpc::ServerUnaryReactor* GetWorkspace(grpc::CallbackServerContext* context,
                                         const v1::GetWorkspaceRequest* request,
                                         v1::Workspace* response) override {
    return server_.Answer(context, server_.get_workspace, request, response);
  }
  grpc::ServerUnaryReactor* UpdateWorkspace(grpc::CallbackServerContext* context,
                                            const v1::UpdateWorkspaceRequest* request,
                                            v1::Workspace* response) override {
    return server_.Answer(context, server_.update_workspace, request, response);
  }

  ScriptedServer& server_;
};

ScriptedServer::ScriptedServer() {
  others_.push_back(std::make_unique<Experiments>(*this));
  others_.push_back(std::make_unique<Models>(*this));
  others_.push_back(std::make_unique<Artifacts>(*this));
  others_.push_back(std::make_unique<Workspaces>(*this));
  Start();
}

void ScriptedServer::Start() {
  grpc::EnableDefaultHealthCheckService(true);
  grpc::ServerBuilder builder;
  builder.AddListeningPort(address(), grpc::InsecureServerCredentials(), &port_);
  builder.RegisterService(this);
  for (const auto& other : others_) builder.RegisterService(other.get());
  server_ = builder.BuildAndStart();
}

ScriptedServer::~ScriptedServer() { Stop(); }

void ScriptedServer::Stop() {
  if (server_ == nullptr) return;
  server_->Shutdown();
  server_->Wait();
  server_.reset();
}

void ScriptedServer::SetServing(bool serving) {
  server_->GetHealthCheckService()->SetServingStatus(serving);
}

std::vector<int64_t> ScriptedServer::watched_after() {
  MutexLock lock(mutex_);
  return watched_after_;
}

std::string ScriptedServer::authorization() {
  MutexLock lock(mutex_);
  return authorization_;
}

void ScriptedServer::NoteCall(const grpc::CallbackServerContext& context) {
  const auto found = context.client_metadata().find("authorization");
  MutexLock lock(mutex_);
  authorization_ = found == context.client_metadata().end()
                       ? ""
                       : std::string(found->second.data(), found->second.size());
}

template <typename Request, typename Response>
grpc::ServerUnaryReactor* ScriptedServer::Answer(grpc::CallbackServerContext* context,
                                                 const Handler<Request, Response>& handler,
                                                 const Request* request, Response* response) {
  NoteCall(*context);
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(
      ToGrpc(handler ? handler(*request, response) : absl::UnimplementedError("not in this test")));
  return reactor;
}

grpc::ServerUnaryReactor* ScriptedServer::CreateRun(grpc::CallbackServerContext* context,
                                                    const v1::CreateRunRequest* request,
                                                    v1::Run* response) {
  return Answer(context, create_run, request, response);
}
grpc::ServerUnaryReactor* ScriptedServer::GetRun(grpc::CallbackServerContext* context,
                                                 const v1::GetRunRequest* request,
                                                 v1::Run* response) {
  return Answer(context, get_run, request, response);
}
grpc::ServerUnaryReactor* ScriptedServer::UpdateRun(grpc::CallbackServerContext* context,
                                                    const v1::UpdateRunRequest* request,
                                                    v1::Run* response) {
  return Answer(context, update_run, request, response);
}
grpc::ServerUnaryReactor* ScriptedServer::PauseRun(grpc::CallbackServerContext* context,
                                                   const v1::PauseRunRequest* request,
                                                   v1::Run* response) {
  return Answer(context, pause_run, request, response);
}
grpc::ServerUnaryReactor* ScriptedServer::ResumeRun(grpc::CallbackServerContext* context,
                                                    const v1::ResumeRunRequest* request,
                                                    v1::Run* response) {
  return Answer(context, resume_run, request, response);
}
grpc::ServerUnaryReactor* ScriptedServer::DeleteRun(grpc::CallbackServerContext* context,
                                                    const v1::DeleteRunRequest* request,
                                                    google::protobuf::Empty* response) {
  return Answer(context, delete_run, request, response);
}
grpc::ServerUnaryReactor* ScriptedServer::ListRuns(grpc::CallbackServerContext* context,
                                                   const v1::ListRunsRequest* request,
                                                   v1::ListRunsResponse* response) {
  return Answer(context, list_runs, request, response);
}
grpc::ServerUnaryReactor* ScriptedServer::CancelRuns(grpc::CallbackServerContext* context,
                                                     const v1::CancelRunsRequest* request,
                                                     v1::CancelRunsResponse* response) {
  return Answer(context, cancel_runs, request, response);
}
grpc::ServerUnaryReactor* ScriptedServer::ListRunEvents(grpc::CallbackServerContext* context,
                                                        const v1::ListRunEventsRequest* request,
                                                        v1::ListRunEventsResponse* response) {
  return Answer(context, list_run_events, request, response);
}
grpc::ServerUnaryReactor* ScriptedServer::ListAttempts(grpc::CallbackServerContext* context,
                                                       const v1::ListAttemptsRequest* request,
                                                       v1::ListAttemptsResponse* response) {
  return Answer(context, list_attempts, request, response);
}
grpc::ServerUnaryReactor* ScriptedServer::ListCheckpoints(grpc::CallbackServerContext* context,
                                                          const v1::ListCheckpointsRequest* request,
                                                          v1::ListCheckpointsResponse* response) {
  return Answer(context, list_checkpoints, request, response);
}
grpc::ServerUnaryReactor* ScriptedServer::ReadRunLog(grpc::CallbackServerContext* context,
                                                     const v1::ReadRunLogRequest* request,
                                                     v1::ReadRunLogResponse* response) {
  return Answer(context, read_run_log, request, response);
}
grpc::ServerUnaryReactor* ScriptedServer::GetQuota(grpc::CallbackServerContext* context,
                                                   const v1::GetQuotaRequest* request,
                                                   v1::Quota* response) {
  return Answer(context, get_quota, request, response);
}
grpc::ServerUnaryReactor* ScriptedServer::ListWorkers(grpc::CallbackServerContext* context,
                                                      const v1::ListWorkersRequest* request,
                                                      v1::ListWorkersResponse* response) {
  return Answer(context, list_workers, request, response);
}

grpc::ServerUnaryReactor* ScriptedServer::GetWorker(grpc::CallbackServerContext* context,
                                                    const v1::GetWorkerRequest* request,
                                                    v1::Worker* response) {
  return Answer(context, get_worker, request, response);
}
grpc::ServerUnaryReactor* ScriptedServer::DrainWorker(grpc::CallbackServerContext* context,
                                                      const v1::DrainWorkerRequest* request,
                                                      v1::Worker* response) {
  return Answer(context, drain_worker, request, response);
}
grpc::ServerWriteReactor<v1::ReadMetricsResponse>* ScriptedServer::ReadMetrics(
    grpc::CallbackServerContext* context, const v1::ReadMetricsRequest* request) {
  NoteCall(*context);
  MetricScript script;
  if (read_metrics) {
    script = read_metrics(*request);
  } else {
    script.end = absl::UnimplementedError("not in this test");
  }
  return new ScriptReactor<v1::ReadMetricsResponse>(std::move(script));
}
grpc::ServerWriteReactor<v1::WatchEventsResponse>* ScriptedServer::WatchEvents(
    grpc::CallbackServerContext* context, const v1::WatchEventsRequest* request) {
  NoteCall(*context);
  StreamScript script;
  {
    MutexLock lock(mutex_);
    watched_after_.push_back(request->after_seq());
    if (streams.empty()) {
      script.end = absl::UnimplementedError("not in this test");
    } else {
      script = streams.front();
      if (streams.size() > 1) streams.pop_front();
    }
  }
  return new ScriptReactor<v1::WatchEventsResponse>(std::move(script));
}

v1::Run TestRun(const std::string& name, v1::Run::State state, int64_t last_seq) {
  v1::Run run;
  run.set_name("workspaces/w/runs/" + name);
  run.set_state(state);
  run.set_last_seq(last_seq);
  run.set_attempt(1);
  return run;
}

v1::RunEvent TestEvent(int64_t seq, v1::RunEvent::Type type) {
  v1::RunEvent event;
  event.set_seq(seq);
  event.set_type(type);
  event.set_message("event " + std::to_string(seq));
  *event.mutable_event_time() = ToProtoTime(absl::FromUnixSeconds(1767268800) + absl::Minutes(seq));
  return event;
}

v1::WatchEventsResponse TestMessage(const std::vector<v1::RunEvent>& events) {
  v1::WatchEventsResponse message;
  for (const v1::RunEvent& event : events) *message.add_events() = event;
  return message;
}

v1::WatchEventsResponse TestMessage(const v1::Run& run) {
  v1::WatchEventsResponse message;
  *message.mutable_run() = run;
  message.set_bookmark_seq(run.last_seq());
  return message;
}

}  // namespace finetuned::cli
