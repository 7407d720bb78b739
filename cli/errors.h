#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "cli/style.h"

// What `finetune` says and exits with when something goes wrong: one sentence what, one why, one
// next command. Pure.

namespace finetuned::cli {

// Exit statuses of every command; part of the interface, listed in --help and in the README.
enum ExitCode : int {
  kExitOk = 0,
  // Anything that has no number of its own.
  kExitFailure = 1,
  // The command line is wrong; nothing was sent.
  kExitUsage = 2,
  kExitNotFound = 3,
  // No token, a bad one, or one that may not do this.
  kExitAuth = 4,
  // A name that is taken, a quota that is full, a state that does not allow it.
  kExitConflict = 5,
  // No answer in time, or none at all.
  kExitUnavailable = 6,
  // `run wait`, `run watch --exit-status`: the run ended FAILED.
  kExitRunFailed = 10,
  // The same: it ended STOPPED.
  kExitRunStopped = 11,
  // The server refused what the request says.
  kExitInvalidData = 65,
  // Ctrl-C.
  kExitInterrupted = 130,
};

// A mistake on the command line: exit status 2. `next` is a command that helps, or empty.
absl::Status UsageError(const std::string& message, const std::string& next = "");

// A refusal of this program itself: its own sentence, why, and a command that helps.
absl::Status LocalError(absl::StatusCode code, const std::string& what, const std::string& why,
                        const std::string& next);

// CANCELLED because of Ctrl-C.
absl::Status InterruptedError();

// The status the program exits with.
int ExitCodeOf(const absl::Status& status);

// What is known where an error is shown.
struct ErrorContext {
  // Address of the server that was asked; empty when none was.
  std::string server;
  // Whether a token was sent.
  bool token_sent = false;
  // The words of the command: `finetune run list`.
  std::string command;
  // Name of the run, or else of the experiment, that the command was about, and names like it that
  // exist.
  std::string run;
  std::string experiment;
  std::vector<std::string> suggestions;
  bool color = false;
};

// The text for standard error, each line ended. Everything from the server is sanitized.
std::string RenderError(const absl::Status& status, const ErrorContext& context);

// The same in its parts: what with its details, why, and the next command; each on one line.
struct ErrorParts {
  std::string what;
  std::string why;
  std::string next;
};
ErrorParts ExplainError(const absl::Status& status, const ErrorContext& context);

// Those of `candidates` at an edit distance of at most two from `name`, nearest first, at most
// three.
std::vector<std::string> NearNames(const std::string& name,
                                   const std::vector<std::string>& candidates);

}  // namespace finetuned::cli
