#pragma once

#include <signal.h>

#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/backoff.h"
#include "daemon/child.h"

namespace finetuned {

// Keeps child processes running: one that ends is started again, with backoff. Children are stopped
// in the reverse of their order. Not safe for concurrent use: everything happens on the thread that
// made it.
class Supervisor {
 public:
  struct Service {
    std::string name;
    ChildSpec spec;
    int stop_signal = SIGTERM;
    // After this SIGKILL follows.
    absl::Duration stop_timeout = absl::Seconds(20);
  };

  // Blocks SIGINT, SIGTERM and SIGCHLD for this thread and those made later, so that waiting sees
  // them.
  Supervisor();

  // Starts a service. Its start failing is an error; its ending later is not.
  absl::Status Add(Service service);

  // Restarts what ends, until SIGINT or SIGTERM comes or, when it is positive, the time is over.
  // FAILED_PRECONDITION when a service says by exit status 78 that its configuration is wrong, or
  // ends again and again without coming up.
  absl::Status RunFor(absl::Duration time);

  // Whether SIGINT or SIGTERM has come.
  bool told_to_stop() const { return told_to_stop_; }

  void StopAll();

 private:
  struct Running {
    Service service;
    pid_t pid = 0;
    absl::Duration started;
    // When it is to be started again, while pid is 0.
    absl::Duration restart_at;
    Backoff backoff{{absl::Milliseconds(200), absl::Seconds(10)}};
    int quick_ends = 0;
  };

  absl::Status Reap();
  absl::Status RestartDue();

  std::vector<Running> services_;
  sigset_t signals_;
  bool told_to_stop_ = false;
};

}  // namespace finetuned
