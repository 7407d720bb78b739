#pragma once

#include <functional>
#include <memory>

#include <grpcpp/support/byte_buffer.h>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "daemon/service_core.h"
#include "finetuned/v1/run_service.pb.h"

namespace finetuned {

// The next message of a stream.
struct NextMessage {
  grpc::ByteBuffer bytes;
  // There is nothing to send.
  bool empty = true;
  // There is more behind it.
  bool more = false;
  // It is to be asked again when it is time, also if nothing wakes it.
  bool again = false;
  // Nothing comes after it.
  bool last = false;
};

// What a stream follows, and how far it has come. Used by one thread at a time; blocks on Postgres
// at most, or on files where the stream has their executor. When it is destroyed it follows no
// more.
class StreamSource {
 public:
  virtual ~StreamSource() = default;

  // Checks the request and begins to follow. `wake` may be called from any thread, and says that
  // Next may have something; it may come once more after this is destroyed.
  virtual absl::Status Open(const Identity& caller, std::function<void()> wake) = 0;

  // Whether the caller may still follow: what it sees may have changed.
  virtual absl::Status CheckAccess(const Identity& caller) = 0;

  // How soon after the last it is worth looking again when it is woken.
  virtual absl::Duration pace() const { return absl::ZeroDuration(); }

  // What is new. With `bookmark` there is always a message, which says where the stream stands.
  virtual absl::StatusOr<NextMessage> Next(bool bookmark) = 0;
};

// Of one run, from a number on.
std::unique_ptr<StreamSource> MakeRunSource(const ServiceCore& core,
                                            v1::WatchEventsRequest request);
// Of all runs that the caller sees, from a cursor on.
std::unique_ptr<StreamSource> MakeFeedSource(const ServiceCore& core,
                                             v1::WatchEventsRequest request);
// The numbers of one run.
std::unique_ptr<StreamSource> MakeMetricSource(const ServiceCore& core,
                                               v1::ReadMetricsRequest request);

}  // namespace finetuned
