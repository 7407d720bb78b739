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

// A newest event for checks that are made before it is known.
inline constexpr int64_t kAnySeq = std::numeric_limits<int64_t>::max();

// INVALID_ARGUMENT for a negative number, whatever last_seq is; OUT_OF_RANGE `CURSOR_AHEAD` for one
// beyond the newest event.
absl::Status CheckCursor(int64_t after_seq, int64_t last_seq);

// Follows one run. A stream holds nothing but its place: it reads the log from there when woken and
// when its last message has been written, so a slow subscriber costs one message of memory and
// delays nobody.
grpc::ServerWriteReactor<v1::WatchEventsResponse>* StartWatch(
    const ServiceCore& core, StreamLimits* limits, grpc::CallbackServerContext* context,
    const google::protobuf::MethodDescriptor* method, const v1::WatchEventsRequest& request);

}  // namespace finetuned
