#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "cli/session.h"

namespace finetuned::cli {

// What is asked, e.g. `Cancel these 3 runs for good?`, and what is said after a no: `Nothing was
// canceled.`
struct Question {
  std::string text;
  std::string after_no;
};

// Shows the lines and asks a person at a terminal; a script has decided already. OK for a yes;
// LocalError CANCELLED for anything else.
absl::Status Confirm(Session& session, const std::vector<std::string>& lines,
                     const Question& question);

}  // namespace finetuned::cli
