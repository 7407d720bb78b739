#pragma once

#include <grpcpp/support/status.h>

#include "absl/status/status.h"

// The border between absl::Status and gRPC: the one place where the two are translated. Details
// cross it in `grpc-status-details-bin`.

namespace finetuned {

grpc::Status ToGrpc(const absl::Status& status);
absl::Status FromGrpc(const grpc::Status& status);

}  // namespace finetuned
