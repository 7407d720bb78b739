#pragma once

#include <cstddef>

#include "absl/time/time.h"

namespace finetuned::bench {

// Writes a second of one thread, which writes so many bytes to each of so many loopback
// connections in turn, for so long, while another reads and drops them. What is delivered in gRPC
// messages is held against this.
double RawTcpWrites(int connections, size_t bytes, absl::Duration time);

}  // namespace finetuned::bench
