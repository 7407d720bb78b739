#pragma once

#include <string>
#include <vector>

#include "cli/completion.h"

// The tree of commands in the languages of the shells. Pure. Each script finds the command that the
// words before the cursor name, and offers what may follow; only names come from the program.

namespace finetuned::cli {

std::string BashScript(const std::vector<CompletionCommand>& tree);
std::string ZshScript(const std::vector<CompletionCommand>& tree);
std::string FishScript(const std::vector<CompletionCommand>& tree);

}  // namespace finetuned::cli
