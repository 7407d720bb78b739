#include "tests/support/test_daemon.h"

#include <stdio.h>
#include <stdlib.h>

#include <filesystem>

#include "artifacts/artifact_store.h"
#include "base/file.h"
#include "base/grpc_status.h"
#include "base/hash.h"
#include "base/logging.h"
#include "base/time.h"
#include "daemon/daemon_config.h"
#include "db/identity.h"

namespace finetuned {
namespace {

// Far above what a call takes, so that a test fails with an answer and does not hang.
constexpr std::chrono::seconds kDeadline(60);

void Check(const absl::Status& status) {
  if (status.ok()) return;
  fprintf(stderr, "test installation: %s\n", status.ToString().c_str());
  abort();
}

template <typename Response>
absl::StatusOr<Response> Result(const grpc::Status& status, Response response) {
  if (!status.ok()) return FromGrpc(status);
  return response;
}

}  // namespace

TestInstallation::TestInstallation() : database_(TestPostgres::Get().NewDatabase()) {
  Check(InitLogging("test", "error"));
  char pattern[] = "/tmp/finetuned-installation-XXXXXX";
  folder_ = mkdtemp(pattern);
  artifact_root_ = folder_ + "/artifacts";
  data_root_ = folder_ + "/data";
  model_root_ = folder_ + "/models";
  Check(MakeDirectories(artifact_root_));
  Check(MakeDirectories(data_root_));
  Check(MakeDirectories(model_root_ + "/finetuned/tiny-llama"));
  Check(WriteFileAtomically(model_root_ + "/finetuned/tiny-llama/config.json",
                            "{\"max_position_embeddings\": 512}"));
}

TestInstallation::~TestInstallation() {
  std::error_code error;
  std::filesystem::remove_all(folder_, error);
}

config::v1::DaemonConfig TestInstallation::Config() const {
  config::v1::DaemonConfig config;
  config.set_listen("127.0.0.1:0");
  config.set_worker_listen("127.0.0.1:0");
  config.set_metrics_listen("127.0.0.1:0");
  config.set_database_url(database_.daemon_url);
  config.set_artifact_root(artifact_root_);
  config.add_data_roots(data_root_);
  config.add_model_roots(model_root_);
  config.set_log_level("error");
  *config.mutable_shutdown_grace_duration() = ToProtoDuration(absl::Seconds(2));
  return config;
}

std::unique_ptr<Server> TestInstallation::StartDaemon(
    const std::function<void(config::v1::DaemonConfig*)>& change) const {
  config::v1::DaemonConfig config = Config();
  if (change) change(&config);
  Check(PrepareDaemonConfig(&config));
  auto server = Server::Start(config);
  Check(server.status());
  return *std::move(server);
}

std::string TestInstallation::Token(const std::string& email, const std::string& role,
                                    const std::string& workspace) const {
  Pool pool({database_.daemon_url});
  IdentityStore identity(&pool);
  const auto token = identity.CreateToken(workspace, email, role, absl::ZeroDuration());
  Check(token.status());
  return *token;
}

TestClient::TestClient(const std::string& address, const std::string& token) : token_(token) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  channel_ = grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
  runs_ = v1::RunService::NewStub(channel_);
  workers_ = v1::WorkerService::NewStub(channel_);
  experiments_ = v1::ExperimentService::NewStub(channel_);
  models_ = v1::ModelService::NewStub(channel_);
  artifacts_ = v1::ArtifactService::NewStub(channel_);
  workspaces_ = v1::WorkspaceService::NewStub(channel_);
}

std::unique_ptr<grpc::ClientContext> TestClient::Context() const {
  auto context = std::make_unique<grpc::ClientContext>();
  context->set_deadline(std::chrono::system_clock::now() + kDeadline);
  if (!token_.empty()) context->AddMetadata("authorization", "Bearer " + token_);
  return context;
}

absl::StatusOr<v1::Run> TestClient::Create(const v1::CreateRunRequest& request) {
  v1::Run run;
  const grpc::Status status = runs_->CreateRun(Context().get(), request, &run);
  return Result(status, run);
}

absl::StatusOr<v1::Run> TestClient::Get(const std::string& name) {
  v1::GetRunRequest request;
  request.set_name(name);
  v1::Run run;
  const grpc::Status status = runs_->GetRun(Context().get(), request, &run);
  return Result(status, run);
}

absl::StatusOr<v1::CancelRunsResponse> TestClient::Cancel(const std::string& name) {
  v1::CancelRunsRequest request;
  request.add_names(name);
  v1::CancelRunsResponse response;
  const grpc::Status status = runs_->CancelRuns(Context().get(), request, &response);
  return Result(status, response);
}

absl::StatusOr<v1::Run> TestClient::Pause(const std::string& name) {
  v1::PauseRunRequest request;
  request.set_name(name);
  v1::Run run;
  const grpc::Status status = runs_->PauseRun(Context().get(), request, &run);
  return Result(status, run);
}

absl::StatusOr<v1::Run> TestClient::Resume(const std::string& name) {
  v1::ResumeRunRequest request;
  request.set_name(name);
  v1::Run run;
  const grpc::Status status = runs_->ResumeRun(Context().get(), request, &run);
  return Result(status, run);
}

absl::StatusOr<v1::ListRunEventsResponse> TestClient::Events(const std::string& name) {
  v1::ListRunEventsRequest request;
  request.set_name(name);
  request.set_page_size(1000);
  v1::ListRunEventsResponse response;
  const grpc::Status status = runs_->ListRunEvents(Context().get(), request, &response);
  return Result(status, response);
}

TestWorker::TestWorker(const TestInstallation& installation, const std::string& worker_address,
                       const std::string& name, int cpus)
    : installation_(installation),
      client_(worker_address, installation.Token(name + "@workers", "worker")),
      name_(name),
      cpus_(cpus) {}

absl::StatusOr<v1::OpenSessionResponse> TestWorker::Open(
    const std::vector<v1::AttemptRef>& attempts) {
  v1::OpenSessionRequest request;
  request.set_worker(name_);
  request.set_boot_id("boot");
  request.mutable_capacity()->set_cpus(cpus_);
  request.set_nonce_name(name_);
  request.set_nonce(HexEncode(RandomBytes(16)));
  for (const auto& attempt : attempts) *request.add_attempts() = attempt;
  Check(ArtifactStore(installation_.artifact_root()).WriteNonce(name_, request.nonce()));
  v1::OpenSessionResponse response;
  const grpc::Status status =
      client_.workers().OpenSession(client_.Context().get(), request, &response);
  if (status.ok()) session_ = response.session();
  return Result(status, response);
}

absl::StatusOr<v1::AcquireLeasesResponse> TestWorker::Acquire(int seconds, int max_count) {
  v1::AcquireLeasesRequest request;
  request.set_session(session_);
  request.mutable_free()->set_cpus(cpus_);
  request.set_max_count(max_count);
  for (const auto& attempt : held) *request.add_held() = attempt;
  request.mutable_hold_duration()->set_seconds(seconds);
  v1::AcquireLeasesResponse response;
  const grpc::Status status =
      client_.workers().AcquireLeases(client_.Context().get(), request, &response);
  return Result(status, response);
}

absl::StatusOr<v1::RenewLeasesResponse> TestWorker::Renew(const v1::AttemptRef& attempt,
                                                          int seconds, v1::StopKind known) {
  v1::RenewLeasesRequest request;
  request.set_session(session_);
  auto* item = request.add_items();
  *item->mutable_attempt() = attempt;
  item->set_known_stop(known);
  request.mutable_hold_duration()->set_seconds(seconds);
  v1::RenewLeasesResponse response;
  const grpc::Status status =
      client_.workers().RenewLeases(client_.Context().get(), request, &response);
  return Result(status, response);
}

absl::StatusOr<v1::ReportEventsResponse> TestWorker::Report(const v1::AttemptRef& attempt,
                                                            int64_t first,
                                                            const std::vector<v1::RunEvent>& events,
                                                            int64_t metric_bytes) {
  v1::ReportEventsRequest request;
  request.set_session(session_);
  auto* item = request.add_items();
  *item->mutable_attempt() = attempt;
  for (const auto& event : events) {
    auto* report = item->add_reports();
    report->set_number(first++);
    report->set_metric_bytes(metric_bytes);
    *report->mutable_event() = event;
  }
  v1::ReportEventsResponse response;
  const grpc::Status status =
      client_.workers().ReportEvents(client_.Context().get(), request, &response);
  return Result(status, response);
}

absl::StatusOr<v1::CompleteAttemptsResponse> TestWorker::Complete(const v1::AttemptRef& attempt,
                                                                  const v1::AttemptEnd& end,
                                                                  int64_t last_report) {
  v1::CompleteAttemptsRequest request;
  request.set_session(session_);
  auto* item = request.add_items();
  *item->mutable_attempt() = attempt;
  *item->mutable_end() = end;
  item->set_last_report(last_report);
  v1::CompleteAttemptsResponse response;
  const grpc::Status status =
      client_.workers().CompleteAttempts(client_.Context().get(), request, &response);
  return Result(status, response);
}

v1::CreateRunRequest ValidRequest(const TestInstallation& installation) {
  v1::CreateRunRequest request;
  auto* spec = request.mutable_run()->mutable_spec();
  spec->set_model("finetuned/tiny-llama");
  spec->set_train_data_path(installation.data_root() + "/train.jsonl");
  return request;
}

v1::RunEvent EventOfType(v1::RunEvent::Type type) {
  v1::RunEvent event;
  event.set_type(type);
  return event;
}

}  // namespace finetuned
