#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "finetuned/v1/run_service.grpc.pb.h"

namespace finetuned::bench {

// What one call is: whose it is, and what it asks for.
struct CreateCall {
  std::string token;
  v1::CreateRunRequest request;
};

struct CallsMade {
  // Of calls that succeeded, in milliseconds.
  std::vector<double> delays;
  // Of those that the quota refused.
  std::vector<double> rejected_delays;
  absl::Duration time;
  int64_t made() const { return static_cast<int64_t>(delays.size()); }
};

// Keeps so many CreateRun calls under way, on a few connections, for some time: `next` says what
// comes next, on any of gRPC's threads, one at a time. `created` hears of each run.
CallsMade CreateRuns(const std::string& address, int concurrency, absl::Duration time,
                     const std::function<CreateCall()>& next,
                     const std::function<void(const v1::Run&)>& created = {});

}  // namespace finetuned::bench
