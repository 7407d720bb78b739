#pragma once

#include "absl/status/status.h"
#include "db/admission.h"
#include "finetuned/config/v1/config.pb.h"
#include "queue/lease.h"

namespace finetuned {

// Fills in the defaults and checks everything that can be checked before anything starts.
// INVALID_ARGUMENT `BAD_CONFIG` naming the field and the remedy.
absl::Status PrepareDaemonConfig(config::v1::DaemonConfig* config);

QuotaLimits QuotaLimitsOf(const config::v1::DaemonConfig& config);
LeaseTimes LeaseTimesOf(const config::v1::LeaseConfig& config);

// Whether `host:port` is a loopback address: the only kind that is served without TLS.
bool IsLoopback(const std::string& address);

}  // namespace finetuned
