#pragma once

#include <map>
#include <string>

#include "tests/support/test_postgres.h"

namespace finetuned::bench {

// Another queue, on the same server in a database of its own (tests/bench/peers/peer.mjs).
class Peer {
 public:
  // Whether they are installed: tools/bench.sh sees to it where there is Node.js.
  static bool Installed();

  // `graphile-worker` or `pg-boss`.
  explicit Peer(std::string name);

  const std::string& name() const { return name_; }
  // What came out of one of its workloads; ends the program where it fails.
  std::map<std::string, double> Run(const std::string& workload, int seconds, int number = 0);

 private:
  const std::string name_;
  const TestPostgres::Database database_;
};

}  // namespace finetuned::bench
