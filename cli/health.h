#pragma once

#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "cli/interrupt.h"

// gRPC stays in the sources.
namespace grpc {
class Channel;
}

namespace finetuned::cli {

// What the health service of gRPC, which every server of this kind has, says of the server.
struct Health {
  bool serving = false;
  // The server's clock, where something between sends a `date`; gRPC itself does not.
  std::optional<absl::Time> date;
};

// Asks once, without a token. UNAVAILABLE when nobody answers, UNIMPLEMENTED without the service.
absl::StatusOr<Health> AskHealth(const std::shared_ptr<grpc::Channel>& channel,
                                 absl::Duration limit, Interrupt& interrupt);

// `Thu, 01 Jan 2026 12:00:00 GMT`, as HTTP writes times.
std::optional<absl::Time> ParseHttpDate(const std::string& text);

}  // namespace finetuned::cli
