#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "worker/attempt_dir.h"

namespace finetuned {

// What is started for an attempt. A list of arguments, never a shell's line.
struct TrainerSpec {
  std::vector<std::string> argv;
  // `NAME=value`; nothing of the agent's environment comes in besides.
  std::vector<std::string> environment;
  std::string cwd;
  std::string stdout_file;
  std::string stderr_file;
  absl::Duration grace = absl::Seconds(120);
  // File with the time since boot, in milliseconds, until which the trainer may run; empty for no
  // limit.
  std::string deadline_file;
};

// How a trainer ended, as the engine saw it.
struct ExitRecord {
  std::optional<int> exit_code;
  int signal = 0;
  // errno of a start that failed; the exit code is 127 then.
  int start_error = 0;
  // Whether the engine sent a signal, to carry out a stop or because the time to run was over.
  bool signaled = false;
  bool deadline_passed = false;
  // Whether the kernel killed for want of memory in the trainer's cgroup meanwhile.
  bool oom_kill = false;
  absl::Time end_time;
  double cpu_seconds = 0;
  int64_t max_rss_bytes = 0;
};

struct Observation {
  enum class State { kNotStarted, kRunning, kExited, kLost };
  State state = State::kNotStarted;
  // With kExited.
  ExitRecord exit;
  // With kLost: whether the host has restarted since.
  bool host_restarted = false;
};

// How a worker starts trainers and what becomes of them. An engine keeps all it knows in the
// attempt's folder, so that the next agent can go on with what this one started: there is no call
// to adopt. Safe for concurrent use.
class Engine {
 public:
  virtual ~Engine() = default;
  // Starts the trainer, once in the life of an attempt: one that was started before is OK and
  // starts nothing. A program that cannot be executed is OK too, and observed as an exit. INTERNAL
  // or RESOURCE_EXHAUSTED when the engine itself failed: nothing was started, and it may be tried
  // again.
  virtual absl::Status Start(const AttemptDir& dir, const TrainerSpec& spec) const = 0;
  // Where the attempt stands. kExited and kLost are final, and nothing of the trainer is alive
  // then.
  virtual absl::StatusOr<Observation> Observe(const AttemptDir& dir) const = 0;
  // Asks the trainer to stop; the engine kills it after the grace. Repeating it changes nothing.
  // Does not wait.
  virtual absl::Status Stop(const AttemptDir& dir) const = 0;
  // Kills the trainer and all it has started at once. Does not wait.
  virtual absl::Status Kill(const AttemptDir& dir) const = 0;
};

}  // namespace finetuned
