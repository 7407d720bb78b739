#pragma once

#include "absl/status/statusor.h"
#include "db/leases.h"
#include "db/transitions.h"
#include "finetuned/v1/worker_service.pb.h"
#include "queue/lease.h"

// Between the worker protocol's messages and the values of queue/ and db/.

namespace finetuned {

// A report with its message written and its detail cut to what belongs to its type.
// INVALID_ARGUMENT for a report that is too large, or whose type and detail do not fit.
absl::StatusOr<IncomingReport> ToIncomingReport(const v1::Report& report);

AttemptEnd ToAttemptEnd(const v1::AttemptEnd& end);

v1::Lease ToProto(const LeasedRun& lease);

v1::AttemptRef ToProto(const AttemptId& attempt);
AttemptId ToAttemptId(const v1::AttemptRef& attempt);

// `^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$`
bool IsWorkerName(const std::string& name);

// How failures are stored.
FailureEncoder MakeFailureEncoder();

v1::ProtocolTimes TimesOf(const LeaseTimes& times);

}  // namespace finetuned
