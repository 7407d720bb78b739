#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "finetuned/config/v1/config.pb.h"

namespace finetuned {

// The daemon: the composition root of `finetuned serve`. Everything is built here, handed what it
// needs, and stopped in one order: readiness off, leasing stopped, streams ended resumably, calls
// in flight finished, loops stopped, the pools closed.
class Server {
 public:
  // `config` has been through PrepareDaemonConfig. Errors say what is wrong and what to do: an
  // unreachable, too old or not migrated Postgres, a port that is taken, a model root that cannot
  // be read.
  static absl::StatusOr<std::unique_ptr<Server>> Start(const config::v1::DaemonConfig& config);

  // Stops when it has not been stopped.
  ~Server();

  // Returns when everything has ended. May be called twice.
  void Stop();

  // Where it listens, with the ports that were chosen for port 0.
  std::string listen() const;
  std::string worker_listen() const;
  std::string metrics_listen() const;

 private:
  struct State;
  explicit Server(std::unique_ptr<State> state);

  std::unique_ptr<State> state_;
};

}  // namespace finetuned
