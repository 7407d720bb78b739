#pragma once

#include <string>
#include <vector>

#include "absl/time/time.h"
#include "cli/health.h"
#include "finetuned/v1/run_service.pb.h"

// What `finetune doctor` finds, and the judgements that need no server. Pure.

namespace finetuned::cli {

struct Check {
  enum class Result {
    kOk,
    // Works, and may hurt.
    kWarning,
    kFailed,
    // Could not be looked at; `detail` says why.
    kSkipped,
  };

  // One word: `token`.
  std::string name;
  Result result = Result::kOk;
  // What was found.
  std::string detail;
  // What that means, and a command that helps; empty where all is well.
  std::string meaning;
  std::string next;
};

// `ok`, `warning`, `failed`, `skipped`.
const char* ResultWord(Check::Result result);

// One line each, with a glyph and a word, and beneath it what it means and what to do.
std::string RenderChecks(const std::vector<Check>& checks, bool color, bool utf8);

// Whether this machine's clock and the server's agree: by the server's date, else by when it last
// heard of a worker that it calls online, which is less than a minute ago.
Check CheckClock(const Health& health, const v1::ListWorkersResponse* workers, absl::Time now);
Check CheckQuota(const v1::Quota& quota);
Check CheckWorkers(const v1::ListWorkersResponse& workers);

}  // namespace finetuned::cli
