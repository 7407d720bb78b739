#pragma once

#include <grpcpp/grpcpp.h>

#include "daemon/service_core.h"
#include "finetuned/v1/worker_service.pb.h"

namespace finetuned {

// Renews the leases of a call and answers when something is wanted that the worker does not know,
// when a lease is lost, or when `hold` is over, whichever is first. Holds no thread while it waits.
void StartRenewal(const ServiceCore& core, grpc::CallbackServerContext* context,
                  const v1::RenewLeasesRequest* request, v1::RenewLeasesResponse* response,
                  absl::Duration hold, Done done);

}  // namespace finetuned
