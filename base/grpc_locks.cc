#include "base/grpc_locks.h"

#include "absl/synchronization/mutex.h"

namespace finetuned {

void StopDeadlockDetection() {
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
}

}  // namespace finetuned
