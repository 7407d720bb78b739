#pragma once

#include <string>

#include "CLI/CLI.hpp"

namespace finetuned::cli {

// Ends the help of every command with a command line that works. To be called when all are there.
void AddExamples(CLI::App& app);

// The example of a command by its words, `run list`; empty where there is none.
std::string ExampleOf(const std::string& path);

}  // namespace finetuned::cli
