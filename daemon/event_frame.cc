#include "daemon/event_frame.h"

#include "daemon/run_view.h"
#include "daemon/watch_events.h"

namespace finetuned {

bool EndsRun(EventType type) {
  return type == EventType::kCompleted || type == EventType::kCanceled ||
         type == EventType::kFailed;
}

EventFrame MakeFrame(const Event& event, const std::string& run) {
  // A message with nothing else is what its field adds to any message.
  v1::WatchEventsResponse message;
  v1::RunEvent& proto = *message.add_events();
  proto = ToProto(event);
  if (!run.empty()) proto.set_run(run);
  return {event.seq, event.type, grpc::Slice(message.SerializeAsString())};
}

std::vector<EventFrame> MakeFrames(const std::vector<Event>& events) {
  std::vector<EventFrame> frames;
  frames.reserve(events.size());
  for (const Event& event : events) frames.push_back(MakeFrame(event, ""));
  return frames;
}

size_t CountForMessage(const std::vector<EventFrame>& frames) {
  size_t bytes = 0, count = 0;
  for (const EventFrame& frame : frames) {
    bytes += frame.bytes.size();
    if (count > 0 && (bytes > kMaxResponseBytes || count == size_t{kMaxEventsPerMessage})) break;
    ++count;
  }
  return count;
}

grpc::ByteBuffer MakeMessage(const std::vector<EventFrame>& frames, size_t count,
                             const std::string& rest) {
  std::vector<grpc::Slice> slices;
  slices.reserve(count + 1);
  for (size_t i = 0; i < count; ++i) slices.push_back(frames[i].bytes);
  slices.emplace_back(rest);
  return grpc::ByteBuffer(slices.data(), slices.size());
}

}  // namespace finetuned
