#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"

namespace finetuned {

// `finetuned dev`: everything on one machine, on loopback. A supervisor that starts an embedded
// Postgres, `finetuned serve` and `finetuned worker`, restarts what ends, and stops all of it when
// it ends itself.
struct DevOptions {
  // Where Postgres, artifacts, configuration and logs live. Default: /var/lib/finetuned/dev for
  // root, and
  // ~/.local/share/finetuned/dev otherwise.
  std::string data_dir;
  // First of three ports: users, workers, metrics.
  int port = 7070;
  // Folder that holds trainer/. Default: found beside the program.
  std::string trainer_dir;
  // Python of the trainer. Default: build/venv/bin/python3 under trainer_dir.
  std::string trainer_python;
  // Folders under which training data may lie. Default `/`: dev mode reads what its user may read.
  std::vector<std::string> data_roots;
  // Fields of the daemon's and the worker's configuration to set beside, `field=value`.
  std::vector<std::string> serve_settings;
  std::vector<std::string> worker_settings;
};

// Returns when it was told to stop and has stopped. The CLI's configuration gets a context `dev`.
absl::Status RunDev(const DevOptions& options);

}  // namespace finetuned
