#pragma once

#include <memory>

#include <grpcpp/grpcpp.h>
#include <grpcpp/impl/codegen/proto_utils.h>

#include "daemon/executor.h"
#include "daemon/service_core.h"
#include "daemon/stream_limits.h"
#include "daemon/stream_source.h"

namespace finetuned {

// How long a stream may be silent.
inline constexpr absl::Duration kBookmarkInterval = absl::Seconds(10);
// A subscriber that does not take a message for so long is ended, resumably.
inline constexpr absl::Duration kSlowConsumer = absl::Seconds(20);

// Serves a stream of messages to a subscriber. It holds nothing but its place: what comes next is
// taken from the source when it is woken and when its last message has been written, so a slow
// subscriber costs one message of memory and delays nobody. The messages are serialised: what many
// streams send is not made for each. The source is asked on the executor, which must outlive the
// stream; without a source the caller is told that its request cannot be read.
grpc::ServerWriteReactor<grpc::ByteBuffer>* StartStream(
    const ServiceCore& core, Executor* executor, StreamLimits* limits,
    grpc::CallbackServerContext* context, const google::protobuf::MethodDescriptor* method,
    std::unique_ptr<StreamSource> source);

// Whether the bytes are such a request.
template <typename Request>
bool ParseRequest(const grpc::ByteBuffer& bytes, Request* request) {
  // Parsing takes the bytes.
  grpc::ByteBuffer taken = bytes;
  return grpc::SerializationTraits<Request>::Deserialize(&taken, request).ok();
}

}  // namespace finetuned
