#pragma once

#include <limits>

#include <grpcpp/grpcpp.h>

#include "daemon/service_core.h"
#include "daemon/stream_limits.h"
#include "finetuned/v1/run_service.pb.h"

namespace finetuned {

// Events per message.
inline constexpr int kMaxEventsPerMessage = 500;
// How old what a bookmark shows of a run may be.
inline constexpr absl::Duration kViewAge = absl::Seconds(5);

// A newest event for checks that are made before it is known.
inline constexpr int64_t kAnySeq = std::numeric_limits<int64_t>::max();

// INVALID_ARGUMENT for a negative number, whatever last_seq is; OUT_OF_RANGE `CURSOR_AHEAD` for one
// beyond the newest event.
absl::Status CheckCursor(int64_t after_seq, int64_t last_seq);

// OUT_OF_RANGE `CURSOR_EXPIRED`: what comes next was dropped. `key` says in the error's metadata
// where reading can go on.
absl::Status CursorExpired(const std::string& message, const std::string& key,
                           const std::string& earliest);
// The same for a run, all of whose events go at once; `last_seq` is its newest.
absl::Status RunEventsDropped(int64_t last_seq);

// Serves a stream of WatchEvents.
grpc::ServerWriteReactor<grpc::ByteBuffer>* StartWatch(
    const ServiceCore& core, StreamLimits* limits, grpc::CallbackServerContext* context,
    const google::protobuf::MethodDescriptor* method, const grpc::ByteBuffer& request);

}  // namespace finetuned
