#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <grpcpp/grpcpp.h>

#include "daemon/server.h"
#include "finetuned/v1/artifact_service.grpc.pb.h"
#include "finetuned/v1/experiment_service.grpc.pb.h"
#include "finetuned/v1/model_service.grpc.pb.h"
#include "finetuned/v1/run_service.grpc.pb.h"
#include "finetuned/v1/worker_service.grpc.pb.h"
#include "finetuned/v1/workspace_service.grpc.pb.h"
#include "tests/support/test_postgres.h"

namespace finetuned {

// An installation for a test: a database, a folder for artifacts with some data, tokens, and any
// number of daemons.
class TestInstallation {
 public:
  TestInstallation();
  ~TestInstallation();

  // Starts a daemon on free ports; `change` may alter its configuration first.
  std::unique_ptr<Server> StartDaemon(
      const std::function<void(config::v1::DaemonConfig*)>& change = {}) const;

  // A token that was made for this role; the first of its principal.
  std::string Token(const std::string& email, const std::string& role,
                    const std::string& workspace = "default") const;

  std::string Sql(const std::string& sql) const { return TestPostgres::Query(database_, sql); }

  const TestPostgres::Database& database() const { return database_; }
  const std::string& artifact_root() const { return artifact_root_; }
  const std::string& data_root() const { return data_root_; }
  config::v1::DaemonConfig Config() const;

 private:
  TestPostgres::Database database_;
  std::string folder_, artifact_root_, data_root_, model_root_;
};

// A caller of the API. Calls have a deadline and carry the token.
class TestClient {
 public:
  TestClient(const std::string& address, const std::string& token);

  v1::RunService::Stub& runs() { return *runs_; }
  v1::WorkerService::Stub& workers() { return *workers_; }
  v1::ExperimentService::Stub& experiments() { return *experiments_; }
  v1::ModelService::Stub& models() { return *models_; }
  v1::ArtifactService::Stub& artifacts() { return *artifacts_; }
  v1::WorkspaceService::Stub& workspaces() { return *workspaces_; }
  std::unique_ptr<grpc::ClientContext> Context() const;

  absl::StatusOr<v1::Run> Create(const v1::CreateRunRequest& request);
  absl::StatusOr<v1::Run> Get(const std::string& name);
  absl::StatusOr<v1::CancelRunsResponse> Cancel(const std::string& name);
  absl::StatusOr<v1::Run> Pause(const std::string& name);
  absl::StatusOr<v1::Run> Resume(const std::string& name);
  absl::StatusOr<v1::ListRunEventsResponse> Events(const std::string& name);

 private:
  std::string token_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::RunService::Stub> runs_;
  std::unique_ptr<v1::WorkerService::Stub> workers_;
  std::unique_ptr<v1::ExperimentService::Stub> experiments_;
  std::unique_ptr<v1::ModelService::Stub> models_;
  std::unique_ptr<v1::ArtifactService::Stub> artifacts_;
  std::unique_ptr<v1::WorkspaceService::Stub> workspaces_;
};

// A worker that a test plays by hand, over the real protocol.
class TestWorker {
 public:
  TestWorker(const TestInstallation& installation, const Server& server, const std::string& name,
             int cpus = 4)
      : TestWorker(installation, server.worker_listen(), name, cpus) {}
  // Of a daemon in another process.
  TestWorker(const TestInstallation& installation, const std::string& worker_address,
             const std::string& name, int cpus = 4);

  // Opens a session; `attempts` are those it says it still has.
  absl::StatusOr<v1::OpenSessionResponse> Open(const std::vector<v1::AttemptRef>& attempts = {});
  // Polls once, held for at most `seconds`.
  absl::StatusOr<v1::AcquireLeasesResponse> Acquire(int seconds = 5, int max_count = 1);
  absl::StatusOr<v1::RenewLeasesResponse> Renew(const v1::AttemptRef& attempt, int seconds,
                                                v1::StopKind known = v1::STOP_KIND_UNSPECIFIED);
  // Reports events of these types, numbered from `first`, and how long the metric file is.
  absl::StatusOr<v1::ReportEventsResponse> Report(const v1::AttemptRef& attempt, int64_t first,
                                                  const std::vector<v1::RunEvent>& events,
                                                  int64_t metric_bytes = 0);
  absl::StatusOr<v1::CompleteAttemptsResponse> Complete(const v1::AttemptRef& attempt,
                                                        const v1::AttemptEnd& end,
                                                        int64_t last_report);
  TestClient& client() { return client_; }
  int64_t session() const { return session_; }
  // What it lists as held when it polls.
  std::vector<v1::AttemptRef> held;

 private:
  const TestInstallation& installation_;
  TestClient client_;
  std::string name_;
  int cpus_;
  int64_t session_ = 0;
};

// A CreateRun that is valid in a TestInstallation.
v1::CreateRunRequest ValidRequest(const TestInstallation& installation);

v1::RunEvent EventOfType(v1::RunEvent::Type type);

}  // namespace finetuned
