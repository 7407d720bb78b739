#pragma once

#include <functional>
#include <iosfwd>
#include <string>

#include "base/clock.h"
#include "cli/interrupt.h"
#include "cli/style.h"

namespace finetuned::cli {

// Everything outside the program that a command may touch beside the server and its configuration
// file. main() fills it with the process's own; a test with strings and a clock it moves. What it
// refers to must outlive it.
struct Io {
  // Data only: what a script would read.
  std::ostream& out;
  // Everything else.
  std::ostream& err;
  std::istream& in;
  bool out_is_terminal = false;
  bool err_is_terminal = false;
  bool in_is_terminal = false;
  // Columns of the terminal; 0 when the output is not one.
  int width = 0;
  // Whether the terminal shows characters beyond ASCII.
  bool utf8 = false;
  Environment env;
  // Where relative paths of data begin.
  std::string working_directory;
  const Clock& clock;
  Interrupt& interrupt;
  // Waits between tries; ends early when interrupted.
  std::function<void(absl::Duration)> pause;
  // Lines of the terminal; 0 when the output is not one.
  int height = 0;
};

}  // namespace finetuned::cli
