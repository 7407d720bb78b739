#include "worker/daemon_client.h"

#include <algorithm>

#include "base/address.h"
#include "base/file.h"
#include "base/grpc_status.h"
#include "base/grpc_tls.h"
#include "base/logging.h"
#include "base/status.h"

namespace finetuned {
namespace {

constexpr size_t kMaxTokenBytes = 8 * 1024;
constexpr int kKeepaliveMilliseconds = 30'000;
constexpr int kKeepaliveTimeoutMilliseconds = 10'000;
constexpr int kMaxReconnectMilliseconds = 5'000;
constexpr int kMaxReceiveBytes = 16 << 20;
constexpr absl::Duration kConnectWait = absl::Seconds(1);
constexpr absl::Duration kCertificateRefresh = absl::Seconds(5);
// Of Debian's ca-certificates, and where others have them too.
constexpr char kSystemAuthorities[] = "/etc/ssl/certs/ca-certificates.crt";

std::shared_ptr<grpc::Channel> NewChannel(const config::v1::WorkerConfig& config,
                                          const CertificateStore* certificates) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMilliseconds);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMilliseconds);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kMaxReconnectMilliseconds);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 200);
  // Otherwise both would share one connection.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetMaxReceiveMessageSize(kMaxReceiveBytes);
  if (!config.tls().server_name().empty()) {
    arguments.SetString(GRPC_SSL_TARGET_NAME_OVERRIDE_ARG, config.tls().server_name());
  }
  return grpc::CreateCustomChannel(config.daemon(),
                                   certificates == nullptr ? grpc::InsecureChannelCredentials()
                                                           : ClientTlsCredentials(*certificates),
                                   arguments);
}

}  // namespace

DaemonClient::Connection::Connection(const config::v1::WorkerConfig& config,
                                     const CertificateStore* certificates)
    : channel(NewChannel(config, certificates)), stub(v1::WorkerService::NewStub(channel)) {}

DaemonClient::DaemonClient(const config::v1::WorkerConfig& config, const Clock& clock,
                           std::unique_ptr<CertificateStore> certificates)
    : token_file_(config.token_file()),
      clock_(clock),
      certificates_(std::move(certificates)),
      connection_(config, certificates_.get()),
      renew_connection_(config, certificates_.get()) {}

absl::StatusOr<std::unique_ptr<DaemonClient>> DaemonClient::Create(
    const config::v1::WorkerConfig& config, const Clock& clock) {
  std::unique_ptr<CertificateStore> certificates;
  if (config.has_tls()) {
    CertificateFiles files = {config.tls().cert_file(), config.tls().key_file(),
                              config.tls().ca_file()};
    if (files.ca_file.empty()) files.ca_file = kSystemAuthorities;
    FT_ASSIGN_OR_RETURN(certificates, CertificateStore::Open("tls", files, clock.Now()));
  } else if (!IsLoopbackAddress(config.daemon())) {
    return MakeError(absl::StatusCode::kInvalidArgument, "BAD_CONFIG",
                     "daemon: " + config.daemon() +
                         " is on another machine, and without TLS the token would cross the "
                         "network in clear text; set tls.ca_file");
  }
  return std::unique_ptr<DaemonClient>(new DaemonClient(config, clock, std::move(certificates)));
}

void DaemonClient::RefreshCertificates() {
  MutexLock lock(mutex_);
  if (certificates_ == nullptr || clock_.SinceBoot() < next_refresh_) return;
  next_refresh_ = clock_.SinceBoot() + kCertificateRefresh;
  const auto renewed = certificates_->Refresh(clock_.Now());
  if (!renewed.ok()) {
    Log(LogLevel::kError, "the new certificates are not used", {{"error", renewed.status()}});
  } else if (*renewed) {
    Log(LogLevel::kInfo, "new certificates are in use");
  }
}

absl::Status DaemonClient::ReadToken() {
  absl::StatusOr<std::string> read = ReadFile(token_file_, kMaxTokenBytes);
  if (!read.ok()) {
    return absl::Status(read.status().code(),
                        "token_file: " + std::string(read.status().message()) +
                            "; write a token of the role `worker` there (finetuned token create)");
  }
  std::string token = *std::move(read);
  while (!token.empty() && static_cast<unsigned char>(token.back()) <= ' ') token.pop_back();
  for (const char c : token) {
    if (c <= ' ' || c > '~') {
      return absl::InvalidArgumentError("token_file: " + token_file_ + " does not hold a token");
    }
  }
  MutexLock lock(mutex_);
  token_ = std::move(token);
  return absl::OkStatus();
}

template <typename Request, typename Response, typename Method>
absl::StatusOr<Response> DaemonClient::Call(Kind kind, const Connection& connection, Method method,
                                            const Request& request, absl::Duration timeout) {
  RefreshCertificates();
  grpc::ClientContext context;
  uint64_t cancels;
  {
    MutexLock lock(mutex_);
    cancels = cancels_[kind];
  }
  const auto now = std::chrono::system_clock::now();
  context.set_deadline(now + absl::ToChronoMicroseconds(timeout));
  // gRPC takes a connection further only while a call waits on it, and otherwise looks every 5 s.
  // While it is broken each call fails at once, so that without this wait a daemon that is back
  // would be found that late.
  connection.channel->WaitForConnected(now +
                                       absl::ToChronoMicroseconds(std::min(timeout, kConnectWait)));
  {
    MutexLock lock(mutex_);
    // Canceled while it waited for a connection.
    if (cancels_[kind] != cancels) return absl::CancelledError("canceled");
    context.AddMetadata("authorization", "Bearer " + token_);
    calls_.insert({kind, &context});
  }
  Response response;
  const grpc::Status status = (connection.stub.get()->*method)(&context, request, &response);
  {
    MutexLock lock(mutex_);
    calls_.erase({kind, &context});
  }
  if (!status.ok()) return FromGrpc(status);
  return response;
}

void DaemonClient::Cancel(Kind kind) {
  MutexLock lock(mutex_);
  ++cancels_[kind];
  for (const auto& [call_kind, context] : calls_) {
    if (call_kind == kind) context->TryCancel();
  }
}

void DaemonClient::CancelAll() {
  MutexLock lock(mutex_);
  for (const Kind kind :
       {Kind::kOpen, Kind::kAcquire, Kind::kRenew, Kind::kReport, Kind::kComplete, Kind::kSweep}) {
    ++cancels_[kind];
  }
  for (const auto& [kind, context] : calls_) context->TryCancel();
}

absl::StatusOr<v1::OpenSessionResponse> DaemonClient::OpenSession(
    const v1::OpenSessionRequest& request, absl::Duration timeout) {
  FT_RETURN_IF_ERROR(ReadToken());
  return Call<v1::OpenSessionRequest, v1::OpenSessionResponse>(
      Kind::kOpen, connection_, &v1::WorkerService::Stub::OpenSession, request, timeout);
}

absl::StatusOr<v1::AcquireLeasesResponse> DaemonClient::AcquireLeases(
    const v1::AcquireLeasesRequest& request, absl::Duration timeout) {
  return Call<v1::AcquireLeasesRequest, v1::AcquireLeasesResponse>(
      Kind::kAcquire, connection_, &v1::WorkerService::Stub::AcquireLeases, request, timeout);
}

absl::StatusOr<v1::RenewLeasesResponse> DaemonClient::RenewLeases(
    const v1::RenewLeasesRequest& request, absl::Duration timeout) {
  return Call<v1::RenewLeasesRequest, v1::RenewLeasesResponse>(
      Kind::kRenew, renew_connection_, &v1::WorkerService::Stub::RenewLeases, request, timeout);
}

absl::StatusOr<v1::ReportEventsResponse> DaemonClient::ReportEvents(
    const v1::ReportEventsRequest& request, absl::Duration timeout) {
  return Call<v1::ReportEventsRequest, v1::ReportEventsResponse>(
      Kind::kReport, connection_, &v1::WorkerService::Stub::ReportEvents, request, timeout);
}

absl::StatusOr<v1::CompleteAttemptsResponse> DaemonClient::CompleteAttempts(
    const v1::CompleteAttemptsRequest& request, absl::Duration timeout) {
  return Call<v1::CompleteAttemptsRequest, v1::CompleteAttemptsResponse>(
      Kind::kComplete, connection_, &v1::WorkerService::Stub::CompleteAttempts, request, timeout);
}

absl::StatusOr<v1::SweepFilesResponse> DaemonClient::SweepFiles(
    const v1::SweepFilesRequest& request, absl::Duration timeout) {
  return Call<v1::SweepFilesRequest, v1::SweepFilesResponse>(
      Kind::kSweep, connection_, &v1::WorkerService::Stub::SweepFiles, request, timeout);
}

}  // namespace finetuned
