#pragma once

#include <string>

#include "worker/engine.h"

namespace finetuned {

// Starts each trainer as a process of this host, under `finetuned-shim`, which outlives the agent.
// Whether the shim lives is told by its lock on shim.lock, not by its number, which another process
// may have by now.
class ProcessEngine final : public Engine {
 public:
  // `shim` is the path of the program.
  explicit ProcessEngine(std::string shim) : shim_(std::move(shim)) {}

  absl::Status Start(const AttemptDir& dir, const TrainerSpec& spec) const override;
  absl::StatusOr<Observation> Observe(const AttemptDir& dir) const override;
  absl::Status Stop(const AttemptDir& dir) const override;
  absl::Status Kill(const AttemptDir& dir) const override;

 private:
  const std::string shim_;
};

// The kernel's boot id; empty when it cannot be read.
std::string BootId();

}  // namespace finetuned
