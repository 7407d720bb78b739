#pragma once

#include <grpcpp/grpcpp.h>

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/certificates.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "finetuned/config/v1/config.pb.h"
#include "finetuned/v1/worker_service.grpc.pb.h"

namespace finetuned {

// The worker's calls to the daemon. Renewals have a connection of their own, so that reports never
// hold them up. Every call blocks, has a deadline and carries the token, which is read anew for
// each session. Errors are those of worker_service.proto and of gRPC, as absl::Status with their
// details; CANCELLED after Cancel. Safe for concurrent use.
class DaemonClient {
 public:
  // INVALID_ARGUMENT for an address of another machine without TLS, and for certificates that
  // cannot be used.
  static absl::StatusOr<std::unique_ptr<DaemonClient>> Create(
      const config::v1::WorkerConfig& config, const Clock& clock);

  absl::StatusOr<v1::OpenSessionResponse> OpenSession(const v1::OpenSessionRequest& request,
                                                      absl::Duration timeout);
  absl::StatusOr<v1::AcquireLeasesResponse> AcquireLeases(const v1::AcquireLeasesRequest& request,
                                                          absl::Duration timeout);
  absl::StatusOr<v1::RenewLeasesResponse> RenewLeases(const v1::RenewLeasesRequest& request,
                                                      absl::Duration timeout);
  absl::StatusOr<v1::ReportEventsResponse> ReportEvents(const v1::ReportEventsRequest& request,
                                                        absl::Duration timeout);
  absl::StatusOr<v1::CompleteAttemptsResponse> CompleteAttempts(
      const v1::CompleteAttemptsRequest& request, absl::Duration timeout);
  absl::StatusOr<v1::SweepFilesResponse> SweepFiles(const v1::SweepFilesRequest& request,
                                                    absl::Duration timeout);

  enum class Kind { kOpen, kAcquire, kRenew, kReport, kComplete, kSweep };
  // Ends the calls of a kind that are in flight.
  void Cancel(Kind kind) ABSL_LOCKS_EXCLUDED(mutex_);
  void CancelAll() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Connection {
    Connection(const config::v1::WorkerConfig& config, const CertificateStore* certificates);
    const std::shared_ptr<grpc::Channel> channel;
    const std::unique_ptr<v1::WorkerService::Stub> stub;
  };

  template <typename Request, typename Response, typename Method>
  absl::StatusOr<Response> Call(Kind kind, const Connection& connection, Method method,
                                const Request& request, absl::Duration timeout)
      ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status ReadToken() ABSL_LOCKS_EXCLUDED(mutex_);
  // New connections use new certificates; broken ones change nothing.
  void RefreshCertificates() ABSL_LOCKS_EXCLUDED(mutex_);
  DaemonClient(const config::v1::WorkerConfig& config, const Clock& clock,
               std::unique_ptr<CertificateStore> certificates);

  const std::string token_file_;
  const Clock& clock_;
  // Null without TLS; read by gRPC's threads through its paths.
  const std::unique_ptr<CertificateStore> certificates_ ABSL_PT_GUARDED_BY(mutex_);
  const Connection connection_;
  const Connection renew_connection_;
  Mutex mutex_;
  absl::Duration next_refresh_ ABSL_GUARDED_BY(mutex_);
  std::string token_ ABSL_GUARDED_BY(mutex_);
  std::set<std::pair<Kind, grpc::ClientContext*>> calls_ ABSL_GUARDED_BY(mutex_);
  // How often calls of a kind were canceled.
  std::map<Kind, uint64_t> cancels_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace finetuned
