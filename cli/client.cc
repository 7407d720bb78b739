#include "cli/client.h"

#include <grpc/support/time.h>
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <tuple>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/backoff.h"
#include "base/file.h"
#include "base/grpc_status.h"
#include "base/status.h"
#include "cli/errors.h"
#include "finetuned/v1/artifact_service.grpc.pb.h"
#include "finetuned/v1/experiment_service.grpc.pb.h"
#include "finetuned/v1/model_service.grpc.pb.h"
#include "finetuned/v1/run_service.grpc.pb.h"
#include "finetuned/v1/workspace_service.grpc.pb.h"

namespace finetuned::cli {
namespace {

constexpr absl::Duration kFirstRetry = absl::Milliseconds(200);
constexpr absl::Duration kMaxRetry = absl::Seconds(2);
// Logs come in pieces of 512 KiB, listings in pages of 1,000 runs of a few KiB each.
constexpr int kMaxReceiveBytes = 64 << 20;
constexpr size_t kMaxAuthoritiesBytes = 4 << 20;
constexpr char kSystemAuthorities[] = "/etc/ssl/certs/ca-certificates.crt";
constexpr int kConnectTimeoutMs = 5000;
constexpr std::chrono::milliseconds kReconnectWait(250);
constexpr int kKeepaliveMs = 20000;
constexpr int kKeepaliveTimeoutMs = 10000;

gpr_timespec DeadlineIn(absl::Duration duration) {
  const int64_t ms = std::max<int64_t>(0, absl::ToInt64Milliseconds(duration));
  return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(ms, GPR_TIMESPAN));
}

absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> TlsCredentials(
    const std::string& ca_file) {
  const std::string path = ca_file.empty() ? kSystemAuthorities : ca_file;
  const auto authorities = ReadFile(path, kMaxAuthoritiesBytes);
  if (!authorities.ok() || authorities->find("BEGIN CERTIFICATE") == std::string::npos) {
    return UsageError(
        absl::StrCat("The file of authorities ", path, " ",
                     authorities.ok()
                         ? "has no certificate in PEM."
                         : "cannot be read, and without it a server cannot be trusted."),
        ca_file.empty() ? "apt-get install ca-certificates, or --ca-file FILE" : "");
  }
  grpc::SslCredentialsOptions options;
  options.pem_root_certs = *authorities;
  return grpc::SslCredentials(options);
}

void AddToken(const std::string& token, grpc::ClientContext& context) {
  if (!token.empty()) context.AddMetadata("authorization", "Bearer " + token);
}

// One thread, one completion queue, one operation at a time: so a wait can have a limit without a
// second thread.
template <typename Response>
class StreamImpl final : public Client::Stream<Response> {
 public:
  using Reader = grpc::ClientAsyncReader<Response>;
  // Starts the call with these two.
  using Begin =
      std::function<std::unique_ptr<Reader>(grpc::ClientContext*, grpc::CompletionQueue*)>;

  StreamImpl(const std::string& token, Interrupt& interrupt, const Begin& begin)
      : interrupt_(interrupt), scope_(interrupt, [this] { context_.TryCancel(); }) {
    AddToken(token, context_);
    reader_ = begin(&context_, &queue_);
    started_ = WaitForOperation();
  }

  ~StreamImpl() override {
    if (!ended_) {
      context_.TryCancel();
      End(absl::CancelledError("closed"));
    }
    queue_.Shutdown();
    void* tag = nullptr;
    bool ok = false;
    while (queue_.Next(&tag, &ok)) {
    }
  }

  bool Next(absl::Duration limit, Response* response) override {
    if (ended_) return false;
    if (!started_) return End(absl::OkStatus());
    reader_->Read(response, nullptr);
    const absl::Duration wait = std::min(limit, this->kSilenceLimit);
    void* tag = nullptr;
    bool ok = false;
    const auto next = queue_.AsyncNext(&tag, &ok, DeadlineIn(wait));
    if (next == grpc::CompletionQueue::TIMEOUT) {
      context_.TryCancel();
      WaitForOperation();  // The read, which fails now.
      return End(limit <= this->kSilenceLimit
                     ? absl::DeadlineExceededError("the time limit is over")
                     : absl::UnavailableError("the server has not said anything for too long"));
    }
    return ok || End(absl::OkStatus());
  }

  const absl::Status& status() const override { return status_; }

 private:
  bool WaitForOperation() {
    void* tag = nullptr;
    bool ok = false;
    return queue_.Next(&tag, &ok) && ok;
  }

  // Takes the stream's status, or `reason` where we ended it ourselves. Always false, as Next() is
  // at the end.
  bool End(absl::Status reason) {
    grpc::Status finished;
    reader_->Finish(&finished, nullptr);
    WaitForOperation();
    ended_ = true;
    status_ = reason.ok() ? FromGrpc(finished) : std::move(reason);
    if (interrupt_.requested()) status_ = InterruptedError();
    return false;
  }

  Interrupt& interrupt_;
  grpc::ClientContext context_;
  Interrupt::Scope scope_;
  grpc::CompletionQueue queue_;
  std::unique_ptr<Reader> reader_;
  bool started_ = false;
  bool ended_ = false;
  absl::Status status_;
};

}  // namespace

class Client::Rpc {
 public:
  Rpc(Options options, std::shared_ptr<grpc::ChannelCredentials> credentials, Io& io)
      : options_(std::move(options)), io_(io) {
    grpc::ChannelArguments arguments;
    arguments.SetUserAgentPrefix(absl::StrCat("finetune/", FINETUNE_VERSION));
    arguments.SetMaxReceiveMessageSize(kMaxReceiveBytes);
    arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
    arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
    // Without these gRPC waits a second and more before it dials again, and our tries would all see
    // the first error.
    arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
    arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
    // Despite its name the limit of one attempt to connect.
    arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, kConnectTimeoutMs);
    // A local server is never behind a proxy of the environment.
    arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
    channel_ = grpc::CreateCustomChannel(options_.server, credentials, arguments);
    stubs_ = {v1::RunService::NewStub(channel_), v1::ExperimentService::NewStub(channel_),
              v1::ModelService::NewStub(channel_), v1::ArtifactService::NewStub(channel_),
              v1::WorkspaceService::NewStub(channel_)};
  }

  // `repeated`, where it is given, says afterwards whether the call was made more than once.
  template <typename Stub, typename Response, typename Request>
  absl::StatusOr<Response> Call(grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                                             Response*),
                                const Request& request, bool* repeated = nullptr) {
    Stub& stub = *std::get<std::unique_ptr<Stub>>(stubs_);
    const absl::Duration end = io_.clock.SinceBoot() + options_.timeout;
    Backoff backoff({kFirstRetry, kMaxRetry});
    for (int attempt = 1;; ++attempt) {
      if (io_.interrupt.requested()) return InterruptedError();
      if (repeated != nullptr) *repeated = attempt > 1;
      AwaitReconnection();
      Response response;
      grpc::ClientContext context;
      AddToken(options_.token, context);
      context.set_deadline(DeadlineIn(end - io_.clock.SinceBoot()));
      absl::Status status;
      {
        Interrupt::Scope scope(io_.interrupt, [&context] { context.TryCancel(); });
        status = FromGrpc((stub.*method)(&context, request, &response));
      }
      if (status.ok()) return response;
      if (io_.interrupt.requested()) return InterruptedError();
      if (!absl::IsUnavailable(status) || attempt == kMaxTries) return status;
      const absl::Duration wait = std::max(backoff.Next(), RetryDelay(status));
      if (io_.clock.SinceBoot() + wait >= end) return status;
      io_.pause(wait);
    }
  }

  absl::StatusOr<Health> CheckHealth() {
    const auto limit = std::min(options_.timeout, absl::Milliseconds(kConnectTimeoutMs));
    return AskHealth(channel_, limit, io_.interrupt);
  }

  // `start` is the method of the stub that begins the stream.
  template <typename Stub, typename Request, typename Response>
  std::unique_ptr<Stream<Response>> Open(std::unique_ptr<grpc::ClientAsyncReader<Response>> (
                                             Stub::*start)(grpc::ClientContext*, const Request&,
                                                           grpc::CompletionQueue*, void*),
                                         const Request& request) {
    AwaitReconnection();
    Stub& stub = *std::get<std::unique_ptr<Stub>>(stubs_);
    return std::make_unique<StreamImpl<Response>>(
        options_.token, io_.interrupt,
        [&](grpc::ClientContext* context, grpc::CompletionQueue* queue) {
          return (stub.*start)(context, request, queue, nullptr);
        });
  }

 private:
  // gRPC takes a connection further only while somebody waits on it, and otherwise looks every 5 s.
  // Once it is broken each call fails at once, so that without this wait a server that is back
  // would be found that late.
  void AwaitReconnection() {
    if (channel_->GetState(/*try_to_connect=*/false) != GRPC_CHANNEL_TRANSIENT_FAILURE) return;
    channel_->WaitForConnected(std::chrono::system_clock::now() + kReconnectWait);
  }

  const Options options_;
  Io& io_;
  std::shared_ptr<grpc::Channel> channel_;
  // One of each service, over the same connection.
  std::tuple<std::unique_ptr<v1::RunService::Stub>, std::unique_ptr<v1::ExperimentService::Stub>,
             std::unique_ptr<v1::ModelService::Stub>, std::unique_ptr<v1::ArtifactService::Stub>,
             std::unique_ptr<v1::WorkspaceService::Stub>>
      stubs_;
};

absl::StatusOr<bool> IsLocalAddress(const std::string& server) {
  if (server.rfind("unix:", 0) == 0) return true;
  const size_t colon = server.rfind(':');
  int port = 0;
  const bool has_port = colon != std::string::npos && colon > 0 &&
                        absl::SimpleAtoi(server.substr(colon + 1), &port) && port > 0 &&
                        port <= 65535;
  std::string host = server.substr(0, colon);
  const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  if (!has_port || server.find("//") != std::string::npos ||
      (!bracketed && host.find(':') != std::string::npos)) {
    return UsageError(absl::StrCat("`", server, "` is not an address; write it as host:port."),
                      absl::StrCat("--server 127.0.0.1:7070"));
  }
  // Digits and dots only: a name such as 127.example.org may lead anywhere.
  const bool numeric = host.find_first_not_of("0123456789.") == std::string::npos;
  return host == "localhost" || host == "::1" || (numeric && host.rfind("127.", 0) == 0);
}

absl::StatusOr<std::unique_ptr<Client>> Client::Create(const Options& options, Io& io) {
  FT_ASSIGN_OR_RETURN(const bool local, IsLocalAddress(options.server));
  auto credentials = grpc::InsecureChannelCredentials();
  if (!local || !options.ca_file.empty()) {
    FT_ASSIGN_OR_RETURN(credentials, TlsCredentials(options.ca_file));
  }
  return std::unique_ptr<Client>(
      new Client(std::make_unique<Rpc>(options, std::move(credentials), io)));
}

Client::Client(std::unique_ptr<Rpc> rpc) : rpc_(std::move(rpc)) {}
Client::~Client() = default;

absl::StatusOr<Health> Client::CheckHealth() { return rpc_->CheckHealth(); }
absl::StatusOr<v1::Run> Client::CreateRun(const v1::CreateRunRequest& request) {
  return rpc_->Call(&v1::RunService::Stub::CreateRun, request);
}
absl::StatusOr<v1::Run> Client::GetRun(const v1::GetRunRequest& request) {
  return rpc_->Call(&v1::RunService::Stub::GetRun, request);
}
absl::StatusOr<v1::Run> Client::PauseRun(const v1::PauseRunRequest& request) {
  return rpc_->Call(&v1::RunService::Stub::PauseRun, request);
}

absl::StatusOr<v1::Run> Client::ResumeRun(const v1::ResumeRunRequest& request, bool* repeated) {
  return rpc_->Call(&v1::RunService::Stub::ResumeRun, request, repeated);
}

absl::StatusOr<v1::Run> Client::UpdateRun(const v1::UpdateRunRequest& request, bool* repeated) {
  return rpc_->Call(&v1::RunService::Stub::UpdateRun, request, repeated);
}
absl::Status Client::DeleteRun(const v1::DeleteRunRequest& request, bool* repeated) {
  return rpc_->Call(&v1::RunService::Stub::DeleteRun, request, repeated).status();
}
absl::StatusOr<v1::ListRunsResponse> Client::ListRuns(const v1::ListRunsRequest& request) {
  return rpc_->Call(&v1::RunService::Stub::ListRuns, request);
}
absl::StatusOr<v1::CancelRunsResponse> Client::CancelRuns(const v1::CancelRunsRequest& request,
                                                          bool* repeated) {
  return rpc_->Call(&v1::RunService::Stub::CancelRuns, request, repeated);
}
absl::StatusOr<v1::ListRunEventsResponse> Client::ListRunEvents(
    const v1::ListRunEventsRequest& request) {
  return rpc_->Call(&v1::RunService::Stub::ListRunEvents, request);
}
absl::StatusOr<v1::ListAttemptsResponse> Client::ListAttempts(
    const v1::ListAttemptsRequest& request) {
  return rpc_->Call(&v1::RunService::Stub::ListAttempts, request);
}

absl::StatusOr<v1::ListCheckpointsResponse> Client::ListCheckpoints(
    const v1::ListCheckpointsRequest& request) {
  return rpc_->Call(&v1::RunService::Stub::ListCheckpoints, request);
}
absl::StatusOr<v1::ReadRunLogResponse> Client::ReadRunLog(const v1::ReadRunLogRequest& request) {
  return rpc_->Call(&v1::RunService::Stub::ReadRunLog, request);
}
absl::StatusOr<v1::Quota> Client::GetQuota(const v1::GetQuotaRequest& request) {
  return rpc_->Call(&v1::RunService::Stub::GetQuota, request);
}
absl::StatusOr<v1::ListWorkersResponse> Client::ListWorkers(const v1::ListWorkersRequest& request) {
  return rpc_->Call(&v1::RunService::Stub::ListWorkers, request);
}
absl::StatusOr<v1::Worker> Client::GetWorker(const v1::GetWorkerRequest& request) {
  return rpc_->Call(&v1::RunService::Stub::GetWorker, request);
}
absl::StatusOr<v1::Worker> Client::DrainWorker(const v1::DrainWorkerRequest& request) {
  return rpc_->Call(&v1::RunService::Stub::DrainWorker, request);
}
absl::StatusOr<v1::ListExperimentsResponse> Client::ListExperiments(
    const v1::ListExperimentsRequest& request) {
  return rpc_->Call(&v1::ExperimentService::Stub::ListExperiments, request);
}
absl::StatusOr<v1::Experiment> Client::GetExperiment(const v1::GetExperimentRequest& request) {
  return rpc_->Call(&v1::ExperimentService::Stub::GetExperiment, request);
}
absl::StatusOr<v1::ListRegisteredModelsResponse> Client::ListRegisteredModels(
    const v1::ListRegisteredModelsRequest& request) {
  return rpc_->Call(&v1::ModelService::Stub::ListRegisteredModels, request);
}
absl::StatusOr<v1::RegisteredModel> Client::GetRegisteredModel(
    const v1::GetRegisteredModelRequest& request) {
  return rpc_->Call(&v1::ModelService::Stub::GetRegisteredModel, request);
}
absl::StatusOr<v1::ListModelsResponse> Client::ListModels(const v1::ListModelsRequest& request) {
  return rpc_->Call(&v1::ModelService::Stub::ListModels, request);
}
absl::StatusOr<v1::Workspace> Client::GetWorkspace(const v1::GetWorkspaceRequest& request) {
  return rpc_->Call(&v1::WorkspaceService::Stub::GetWorkspace, request);
}
absl::StatusOr<v1::Workspace> Client::UpdateWorkspace(const v1::UpdateWorkspaceRequest& request) {
  return rpc_->Call(&v1::WorkspaceService::Stub::UpdateWorkspace, request);
}
std::unique_ptr<Client::EventStream> Client::WatchEvents(const v1::WatchEventsRequest& request) {
  return rpc_->Open(&v1::RunService::Stub::AsyncWatchEvents, request);
}
absl::StatusOr<v1::ListArtifactsResponse> Client::ListArtifacts(
    const v1::ListArtifactsRequest& request) {
  return rpc_->Call(&v1::ArtifactService::Stub::ListArtifacts, request);
}
std::unique_ptr<Client::MetricStream> Client::ReadMetrics(const v1::ReadMetricsRequest& request) {
  return rpc_->Open(&v1::RunService::Stub::AsyncReadMetrics, request);
}
std::unique_ptr<Client::ArtifactStream> Client::ReadArtifact(
    const v1::ReadArtifactRequest& request) {
  return rpc_->Open(&v1::ArtifactService::Stub::AsyncReadArtifact, request);
}

}  // namespace finetuned::cli
