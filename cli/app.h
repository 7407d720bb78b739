#pragma once

#include <string>
#include <vector>

#include "cli/io.h"

namespace finetuned::cli {

// Runs one command line, without the program's name, and returns the exit status (see errors.h).
// Blocks until the command is done or interrupted. Never throws.
int RunApp(const std::vector<std::string>& arguments, Io& io);

}  // namespace finetuned::cli
