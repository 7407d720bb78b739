#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "absl/time/time.h"
#include "tests/support/test_daemon.h"

namespace finetuned::bench {

// A daemon of an installation in a process of its own, so that what it costs can be told from what
// its callers cost. To be made before this process uses gRPC. Ends with this object, or with this
// process.
class DaemonProcess {
 public:
  explicit DaemonProcess(const TestInstallation& installation);
  ~DaemonProcess();
  DaemonProcess(const DaemonProcess&) = delete;
  DaemonProcess& operator=(const DaemonProcess&) = delete;

  const std::string& listen() const { return listen_; }
  const std::string& worker_listen() const { return worker_listen_; }
  // Memory that is resident and of nobody else, now.
  int64_t PrivateBytes() const;
  // Time of all its threads so far.
  absl::Duration CpuTime() const;

 private:
  pid_t pid_ = 0;
  std::string listen_;
  std::string worker_listen_;
};

// One that is started again at once when it ends, as a service manager does, on the same ports. To
// be made before this process uses gRPC.
class SupervisedDaemon {
 public:
  explicit SupervisedDaemon(const TestInstallation& installation);
  ~SupervisedDaemon();
  SupervisedDaemon(const SupervisedDaemon&) = delete;
  SupervisedDaemon& operator=(const SupervisedDaemon&) = delete;

  const std::string& listen() const { return listen_; }
  // Kills it, and returns when the next one serves.
  void Kill();

 private:
  void AwaitDaemon();

  pid_t supervisor_ = 0;
  pid_t daemon_ = 0;
  int pids_ = -1;
  std::string listen_;
};

// Of this process.
absl::Duration OwnCpuTime();

}  // namespace finetuned::bench
