#pragma once

#include <map>
#include <string>
#include <vector>

#include "tests/support/test_postgres.h"

namespace finetuned::bench {

// Another queue, on the same server in a database of its own (tests/bench/peers).
class Peer {
 public:
  // Those that are installed of graphile-worker, pg-boss and River: tools/bench.sh sees to it where
  // there are Node.js and Go.
  static std::vector<std::string> Installed();

  explicit Peer(std::string name);

  const std::string& name() const { return name_; }
  // What came out of one of its workloads; ends the program where it fails.
  std::map<std::string, double> Run(const std::string& workload, int seconds, int number = 0);

 private:
  const std::string name_;
  const TestPostgres::Database database_;
};

}  // namespace finetuned::bench
