#pragma once

#include <limits>

#include <grpcpp/grpcpp.h>

#include "daemon/service_core.h"
#include "daemon/stream_limits.h"
#include "finetuned/v1/run_service.pb.h"

namespace finetuned {

// Events per message, and how long a stream may be silent.
inline constexpr int kMaxEventsPerMessage = 500;
inline constexpr absl::Duration kBookmarkInterval = absl::Seconds(10);
// How old what a bookmark shows of a run may be.
inline constexpr absl::Duration kViewAge = absl::Seconds(5);
// A subscriber that does not take a message for so long is ended, resumably.
inline constexpr absl::Duration kSlowConsumer = absl::Seconds(20);

// A newest event for checks that are made before it is known.
inline constexpr int64_t kAnySeq = std::numeric_limits<int64_t>::max();

// INVALID_ARGUMENT for a negative number, whatever last_seq is; OUT_OF_RANGE `CURSOR_AHEAD` for one
// beyond the newest event.
absl::Status CheckCursor(int64_t after_seq, int64_t last_seq);

// Serves a stream of WatchEvents. It holds nothing but its place: what comes next is taken from
// there when it is woken and when its last message has been written, so a slow subscriber costs one
// message of memory and delays nobody. The request and the messages are serialised: what many
// streams send is not made for each.
grpc::ServerWriteReactor<grpc::ByteBuffer>* StartWatch(
    const ServiceCore& core, StreamLimits* limits, grpc::CallbackServerContext* context,
    const google::protobuf::MethodDescriptor* method, const grpc::ByteBuffer& request);

}  // namespace finetuned
