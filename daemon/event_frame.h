#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <grpcpp/support/byte_buffer.h>

#include "queue/event.h"

// Messages of WatchEvents, put together from pieces that are serialised once, however many streams
// send them.

namespace finetuned {

// An event as a piece of a WatchEventsResponse. Its bytes are shared by all who send it.
struct EventFrame {
  int64_t seq = 0;
  EventType type = EventType::kOther;
  grpc::Slice bytes;
};

// Whether a run has no event after one of this type.
bool EndsRun(EventType type);

// With the resource name of its run, where that is to be told.
EventFrame MakeFrame(const Event& event, const std::string& run = "");
std::vector<EventFrame> MakeFrames(const std::vector<Event>& events);

// How many of the frames go into one message: at least the first, at most kMaxEventsPerMessage, and
// kMaxResponseBytes.
size_t CountForMessage(const std::vector<EventFrame>& frames);

// The first `count` frames and what comes behind them: a serialised WatchEventsResponse without
// events.
grpc::ByteBuffer MakeMessage(const std::vector<EventFrame>& frames, size_t count,
                             const std::string& rest);

}  // namespace finetuned
