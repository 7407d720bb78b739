#include "daemon/watch_events.h"

#include <utility>

#include <grpcpp/impl/codegen/proto_utils.h>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "daemon/stream.h"
#include "daemon/stream_source.h"

namespace finetuned {

absl::Status CheckCursor(int64_t after_seq, int64_t last_seq) {
  if (after_seq < 0) return InvalidArgument({{"after_seq", "is negative", "BAD_CURSOR"}});
  if (after_seq > last_seq) {
    return MakeError(
        absl::StatusCode::kOutOfRange, "CURSOR_AHEAD",
        absl::StrCat("after_seq: ", after_seq, " is beyond the newest event, ", last_seq),
        {{"last_seq", absl::StrCat(last_seq)}});
  }
  return absl::OkStatus();
}

absl::Status CursorExpired(const std::string& message, const std::string& key,
                           const std::string& earliest) {
  return MakeError(absl::StatusCode::kOutOfRange, "CURSOR_EXPIRED", message, {{key, earliest}});
}

absl::Status RunEventsDropped(int64_t last_seq) {
  return CursorExpired(
      absl::StrCat("after_seq: the events of this run, up to number ", last_seq,
                   ", are past the retention of its workspace and were dropped; how it ended is "
                   "with the run itself"),
      "earliest_seq", absl::StrCat(last_seq + 1));
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* StartWatch(
    const ServiceCore& core, StreamLimits* limits, grpc::CallbackServerContext* context,
    const google::protobuf::MethodDescriptor* method, const grpc::ByteBuffer& request) {
  v1::WatchEventsRequest parsed;
  std::unique_ptr<StreamSource> source;
  if (ParseRequest(request, &parsed)) {
    const bool is_feed = parsed.name().empty() && !parsed.parent().empty();
    source =
        is_feed ? MakeFeedSource(core, std::move(parsed)) : MakeRunSource(core, std::move(parsed));
  }
  return StartStream(core, core.call.executor, limits, context, method, std::move(source));
}

}  // namespace finetuned
