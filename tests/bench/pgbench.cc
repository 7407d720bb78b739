#include "tests/bench/pgbench.h"

#include <algorithm>
#include <cstdlib>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/file.h"
#include "tests/bench/require.h"

namespace finetuned::bench {

SqlRate RunPgbench(const TestInstallation& installation, const SqlLoad& load) {
  const std::string script = installation.artifact_root() + "/bench.sql";
  const std::string out = installation.artifact_root() + "/bench.out";
  Require(WriteFileAtomically(script, load.script).ok(), "cannot write the script");
  // Sessions as the daemon's: with a million rows a plan that reads all of them would be preferred.
  const std::string command = absl::StrCat(
      "PGOPTIONS='-c enable_seqscan=off -c jit=off' /usr/lib/postgresql/15/bin/pgbench -n -M "
      "prepared -c ",
      load.clients, " -j ", std::min(load.clients, 2), " -T ", absl::ToInt64Seconds(load.time),
      " -f ", script, " '", installation.database().admin_url, "' > ", out, " 2>&1");
  const bool ran = std::system(command.c_str()) == 0;
  const auto printed = ReadFile(out);
  Require(printed.ok(), "pgbench said nothing");
  if (!ran) fprintf(stderr, "%s\n", printed->c_str());
  Require(ran, "pgbench failed");
  SqlRate rate;
  for (const absl::string_view line : absl::StrSplit(*printed, '\n')) {
    const std::vector<absl::string_view> words = absl::StrSplit(line, ' ', absl::SkipEmpty());
    if (words.size() > 2 && words[0] == "tps") {
      Require(absl::SimpleAtod(words[2], &rate.transactions_per_s), "pgbench told no rate");
    } else if (absl::StartsWith(line, "latency average")) {
      Require(words.size() > 3 && absl::SimpleAtod(words[3], &rate.mean_ms),
              "pgbench told no mean");
    }
  }
  Require(rate.transactions_per_s > 0, "pgbench told no rate");
  return rate;
}

}  // namespace finetuned::bench
