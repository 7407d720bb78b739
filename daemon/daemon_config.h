#pragma once

#include "absl/status/status.h"
#include "base/certificates.h"
#include "db/admission.h"
#include "finetuned/config/v1/config.pb.h"
#include "queue/lease.h"
#include "queue/quarantine.h"
#include "queue/retry_policy.h"

namespace finetuned {

// Fills in the defaults and checks everything that can be checked before anything starts.
// INVALID_ARGUMENT `BAD_CONFIG` naming the field and the remedy.
absl::Status PrepareDaemonConfig(config::v1::DaemonConfig* config);

QuotaLimits QuotaLimitsOf(const config::v1::DaemonConfig& config);
RetryLimits RetryLimitsOf(const config::v1::DaemonConfig& config);
QuarantinePolicy QuarantinePolicyOf(const config::v1::DaemonConfig& config);
LeaseTimes LeaseTimesOf(const config::v1::LeaseConfig& config);

CertificateFiles FilesOf(const config::v1::ServerTls& tls);

}  // namespace finetuned
