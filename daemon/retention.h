#pragma once

#include "absl/status/status.h"
#include "daemon/service_core.h"
#include "finetuned/v1/worker_service.pb.h"

// What runs left goes when it is past the retention of their workspaces. The daemon drops events;
// files are deleted by workers, who may write where they lie. Any number of daemons and workers may
// do it at the same time, and whatever fails is tried again.

namespace finetuned {

// Drops all partitions of events that nobody needs any more. Errors as
// RetentionStore::RetireEventPartition; what was dropped before stays dropped.
absl::Status RetireEvents(RetentionStore* store);

// Answers SweepFiles (worker_service.proto).
absl::Status SweepFiles(const ServiceCore& core, const v1::SweepFilesRequest& request,
                        v1::SweepFilesResponse* response);

}  // namespace finetuned
