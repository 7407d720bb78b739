#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

// Child processes of the supervisor. To be used before any thread is started: a death signal is
// bound to the thread that forked.

namespace finetuned {

struct ChildSpec {
  std::vector<std::string> argv;
  // Both output streams are appended here; empty leaves them as they are.
  std::string log_file;
  // Runs as this user; nothing to stay who we are. Requires root.
  std::optional<uid_t> uid;
  std::optional<gid_t> gid;
  // Sent to the child when the supervisor dies, even by SIGKILL.
  int death_signal = 0;
};

// NOT_FOUND when the program cannot be started.
absl::StatusOr<pid_t> StartChild(const ChildSpec& spec);

// Runs to its end; FAILED_PRECONDITION with the last lines of its output unless it exits with 0.
absl::Status RunChild(const ChildSpec& spec);

// The folder of the running program.
std::string ProgramFolder();

}  // namespace finetuned
