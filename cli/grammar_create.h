#pragma once

#include <string>

#include "cli/commands/commands.h"
#include "cli/grammar.h"

// The commands that make a run, whose flags are most of the grammar.

namespace finetuned::cli {

// From flags, or from a file with flags that win.
void AddCreate(Grammar& grammar, CLI::App& parent, const std::string& name);
// From a run that is there.
void AddClone(Grammar& grammar, CLI::App& parent, const std::string& name);

// The flags of everything that watches a run.
void AddWatchFlags(CLI::App* command, WatchFlags& flags);

}  // namespace finetuned::cli
