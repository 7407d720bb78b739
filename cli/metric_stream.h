#pragma once

#include <functional>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "cli/client.h"
#include "cli/io.h"

namespace finetuned::cli {

// Reads a stream of numbers to its end over connections that may break, each message once: it goes
// on from the last cursor. Messages before the first cursor, of what is thinned out, come together
// with it. `on_lost` is called once per break. Errors: those of ReadMetrics; DEADLINE_EXCEEDED
// after `limit`; UNAVAILABLE after kOutageLimit; InterruptedError().
absl::Status ReadMetricStream(Client& client, Io& io, v1::ReadMetricsRequest request,
                              absl::Duration limit,
                              const std::function<void(const v1::ReadMetricsResponse&)>& on_message,
                              const std::function<void(const absl::Status&)>& on_lost);

}  // namespace finetuned::cli
