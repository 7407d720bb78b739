#pragma once

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "finetuned/v1/worker_service.pb.h"
#include "tests/bench/daemon_process.h"
#include "tests/support/test_daemon.h"

namespace finetuned::bench {

// A worker whose trainers do nothing: it takes runs into its slots, reports that they have begun
// and finished, and ends them, all at once. One thread may take while another finishes.
class SlotWorker {
 public:
  // Asks for one CPU a slot.
  SlotWorker(const TestInstallation& installation, const DaemonProcess& daemon,
             const std::string& name, int slots);

  // Takes what there is for the slots that are free, held for so long while there is nothing. Empty
  // when there was none.
  std::vector<v1::Lease> Take(int hold_seconds);
  // Carries these to their ends, each step for all of them.
  void Finish(const std::vector<v1::Lease>& leases);

 private:
  TestWorker worker_;
  const int slots_;
  Mutex mutex_;
  // By run and epoch.
  std::map<std::pair<int64_t, int64_t>, v1::AttemptRef> held_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace finetuned::bench
