#pragma once

#include "absl/status/status.h"
#include "daemon/service_core.h"
#include "finetuned/v1/worker_service.pb.h"

// Files that runs left are deleted by workers, who may write where they lie, when they are past the
// retention of their workspaces. Any number of workers may do it at the same time.

namespace finetuned {

// Answers SweepFiles (worker_service.proto).
absl::Status SweepFiles(const ServiceCore& core, const v1::SweepFilesRequest& request,
                        v1::SweepFilesResponse* response);

}  // namespace finetuned
