#pragma once

#include "daemon/service_core.h"
#include "finetuned/v1/worker_service.grpc.pb.h"

namespace finetuned {

// WorkerService (proto/finetuned/v1/worker_service.proto tells the protocol). Every write goes
// through a batcher, so the calls of many workers share transactions; held calls wait without a
// thread.
class WorkerService final : public v1::WorkerService::CallbackService {
 public:
  // `sessions`: for OpenSession and SweepFiles, which wait for locks or for a filesystem, and must
  // not hold up renewals.
  WorkerService(const ServiceCore* core, const ServiceCore* sessions)
      : core_(*core), sessions_(*sessions) {}

  grpc::ServerUnaryReactor* OpenSession(grpc::CallbackServerContext* context,
                                        const v1::OpenSessionRequest* request,
                                        v1::OpenSessionResponse* response) override;
  grpc::ServerUnaryReactor* AcquireLeases(grpc::CallbackServerContext* context,
                                          const v1::AcquireLeasesRequest* request,
                                          v1::AcquireLeasesResponse* response) override;
  grpc::ServerUnaryReactor* RenewLeases(grpc::CallbackServerContext* context,
                                        const v1::RenewLeasesRequest* request,
                                        v1::RenewLeasesResponse* response) override;
  grpc::ServerUnaryReactor* ReportEvents(grpc::CallbackServerContext* context,
                                         const v1::ReportEventsRequest* request,
                                         v1::ReportEventsResponse* response) override;
  grpc::ServerUnaryReactor* CompleteAttempts(grpc::CallbackServerContext* context,
                                             const v1::CompleteAttemptsRequest* request,
                                             v1::CompleteAttemptsResponse* response) override;
  grpc::ServerUnaryReactor* SweepFiles(grpc::CallbackServerContext* context,
                                       const v1::SweepFilesRequest* request,
                                       v1::SweepFilesResponse* response) override;

 private:
  const ServiceCore& core_;
  const ServiceCore& sessions_;
};

}  // namespace finetuned
