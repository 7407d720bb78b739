#pragma once

#include "daemon/service_core.h"
#include "daemon/stream_limits.h"
#include "finetuned/v1/artifact_service.grpc.pb.h"

namespace finetuned {

// One ReadArtifact stream. At any time one piece of the file is in memory: the next is read when
// the one before has been taken by the transport, so a slow reader slows itself only.
grpc::ServerWriteReactor<v1::ReadArtifactResponse>* StartDownload(
    const ServiceCore& core, Executor* files, StreamLimits* limits,
    grpc::CallbackServerContext* context, const google::protobuf::MethodDescriptor* method,
    const v1::ReadArtifactRequest& request);

}  // namespace finetuned
