#pragma once

#include <string>

#include "absl/time/time.h"
#include "tests/support/test_daemon.h"

namespace finetuned::bench {

// What plain SQL does on the same Postgres.
struct SqlLoad {
  // Of pgbench: one transaction, with its variables.
  std::string script;
  int clients = 16;
  absl::Duration time = absl::Seconds(5);
};
struct SqlRate {
  double transactions_per_s = 0;
  double mean_ms = 0;
};

// As fast as pgbench is with prepared statements and two threads.
SqlRate RunPgbench(const TestInstallation& installation, const SqlLoad& load);

}  // namespace finetuned::bench
