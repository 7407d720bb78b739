#pragma once

#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/statusor.h"

// What a shell needs to complete the command line, taken from the grammar itself. Pure.

namespace finetuned::cli {

// What may stand at a place.
struct Candidates {
  enum class Kind {
    // Nothing that could be known.
    kNone,
    // One of `words`.
    kWords,
    // Of the file system.
    kFiles,
    // What the server, or the configuration file, has: `words[0]` is the argument of the hidden
    // command that prints them, e.g. `runs`.
    kNames,
  };
  Kind kind = Kind::kNone;
  std::vector<std::string> words;
};

struct CompletionFlag {
  // With their dashes.
  std::vector<std::string> names;
  std::string description;
  bool takes_value = false;
  Candidates value;
};

struct CompletionCommand {
  // Its words without the program's: `run create`; empty for the program itself.
  std::string path;
  std::string description;
  // The commands beneath it, by their last word.
  std::vector<std::pair<std::string, std::string>> commands;
  // Its flags, and those that every command takes.
  std::vector<CompletionFlag> flags;
  // What stands behind it where that is no command.
  Candidates argument;
};

// Every command that a person sees, those above before those beneath.
std::vector<CompletionCommand> CompletionTree(const CLI::App& app);

// The script for bash, zsh or fish. It calls the program only for names, which it never lets the
// shell evaluate. Usage error for another shell.
absl::StatusOr<std::string> CompletionScript(const CLI::App& app, const std::string& shell);

// Flags that have candidates, for a test: each must be one of the grammar's.
std::vector<std::string> FlagsWithCandidates();

}  // namespace finetuned::cli
