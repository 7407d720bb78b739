// One benchmark, on this machine: `bench NAME FOLDER` leaves NAME.md, lines of a table, and
// NAME.json in the folder. tools/bench.sh runs them all and makes docs/benchmarks.md of it.

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/file.h"
#include "base/grpc_locks.h"
#include "tests/bench/scenarios.h"
#include "tests/support/test_postgres.h"

namespace {

using finetuned::bench::Result;

const std::map<std::string, std::function<std::vector<Result>()>>& Scenarios() {
  static const auto* scenarios = new std::map<std::string, std::function<std::vector<Result>()>>{
      {"backlog", finetuned::bench::Backlog},
      {"create", finetuned::bench::Create},
      {"create-hot", finetuned::bench::CreateHot},
      {"create-peers", finetuned::bench::CreateAgainstPeers},
      {"dispatch", finetuned::bench::DispatchRuns},
      {"drain", finetuned::bench::DrainQueue},
      {"drain-snapshot", finetuned::bench::DrainUnderSnapshot},
      {"event-single", finetuned::bench::SingleEvents},
      {"events", finetuned::bench::Ingest},
      {"fan-out", finetuned::bench::FanOut},
      {"fan-out-ceiling", finetuned::bench::FanOutCeiling},
      {"footprint", finetuned::bench::Footprint},
      {"heartbeat", finetuned::bench::Heartbeats},
      {"idle", finetuned::bench::IdleSubscribers},
      {"list", finetuned::bench::ListLarge},
      {"quota-storm", finetuned::bench::QuotaStorm},
      {"recovery", finetuned::bench::Recovery},
      {"resume", finetuned::bench::Resume},
  };
  return *scenarios;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string name = argc > 1 ? argv[1] : "";
  if (name == "--list") {
    for (const auto& [one, run] : Scenarios()) printf("%s\n", one.c_str());
    return 0;
  }
  if (argc != 3 || Scenarios().count(name) == 0) {
    fprintf(stderr, "usage: bench NAME FOLDER, or bench --list\n");
    return 2;
  }
  setenv(finetuned::TestPostgres::kSyncVariable, "1", 1);
  // As the daemon's own main does.
  finetuned::StopDeadlockDetection();
  const std::vector<Result> results = Scenarios().at(name)();
  const std::string path = std::string(argv[2]) + "/" + name;
  for (const auto& [ending, text] : {std::pair{".md", finetuned::bench::ToMarkdown(results)},
                                     {".json", finetuned::bench::ToJson(results)}}) {
    const absl::Status status = finetuned::WriteFileAtomically(path + ending, text);
    if (!status.ok()) {
      fprintf(stderr, "bench: %s\n", status.ToString().c_str());
      return 1;
    }
  }
  printf("%s", finetuned::bench::ToMarkdown(results).c_str());
  return 0;
}
