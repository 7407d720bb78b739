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

// The hidden command that the scripts of shells call. Whatever goes wrong with it, it says nothing
// and its exit status is 0: it is run between two keys of a person's.
inline constexpr char kCompleteCommand[] = "__complete";

// What every command that lists has, and no other.
inline constexpr char kColumnsFlag[] = "--columns";

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
