#pragma once

#include <functional>
#include <memory>

#include "CLI/CLI.hpp"
#include "absl/status/statusor.h"
#include "cli/commands/commands.h"
#include "cli/session.h"

namespace finetuned::cli {

// What a command line asks for.
using Action = std::function<absl::StatusOr<int>(Session&)>;

// The words of the command line: every command with its flags, and the global flags. Parsing with
// `app` fills the rest. Not movable: the parser holds addresses of its members.
struct Grammar {
  Grammar();
  Grammar(const Grammar&) = delete;
  Grammar& operator=(const Grammar&) = delete;

  CLI::App app;
  GlobalFlags global;
  // The command that was recognized; empty before parsing.
  Action action;
};

}  // namespace finetuned::cli
