#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/attempt.h"
#include "worker/daemon_client.h"

namespace finetuned {

// Sends what attempts have in their journals, then their ends. One call is in flight; what comes
// meanwhile goes with the next. Whatever is not answered is sent again. Used by one thread.
class Reporter {
 public:
  // Limits of one call: those of the proto, and room within the daemon's 1 MiB.
  static constexpr size_t kMaxItems = 256;
  static constexpr size_t kMaxReportsPerItem = 1000;
  static constexpr size_t kMaxCallBytes = 700 * 1024;

  explicit Reporter(DaemonClient& client) : client_(client) {}

  // One round over the attempts: at most one call of each kind. Returns whether it brought anything
  // forward; the error of a call otherwise. Attempts whose lease is lost are abandoned, those whose
  // end is stored are completed.
  absl::StatusOr<bool> Send(int64_t session, const std::vector<std::shared_ptr<Attempt>>& attempts,
                            absl::Duration timeout);

 private:
  using Attempts = std::map<AttemptKey, std::shared_ptr<Attempt>>;
  absl::StatusOr<bool> SendReports(int64_t session, const Attempts& attempts,
                                   absl::Duration timeout);
  absl::StatusOr<bool> SendEnds(int64_t session, const Attempts& attempts, absl::Duration timeout);
  bool Refused(Attempt& attempt, size_t count, const absl::Status& status);

  DaemonClient& client_;
  // Where the next round begins, so that a busy attempt does not starve those behind it.
  AttemptKey next_ = {0, 0};
  // Attempts of which a batch was refused: one report a call, to find out which.
  std::map<AttemptKey, size_t> single_;
};

}  // namespace finetuned
