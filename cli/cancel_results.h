#pragma once

#include "absl/status/status.h"
#include "cli/session.h"
#include "finetuned/v1/run_service.pb.h"

namespace finetuned::cli {

// Writes what became of each run that was to be canceled; no table for none.
void PrintCancelResults(Session& session, const v1::CancelRunsResponse& response);

// The first error among the results; OK without one.
absl::Status FirstError(const v1::CancelRunsResponse& response);

}  // namespace finetuned::cli
