#pragma once

#include <vector>

#include "tests/bench/results.h"

// The benchmarks. Each makes what it needs, measures three rounds, checks that nothing was lost or
// doubled on the way (and aborts otherwise), and says what came out.

namespace finetuned::bench {

inline constexpr int kRounds = 3;

// 1,000 subscribers to one run, and one beside them that takes nothing.
std::vector<Result> FanOut();
// What 10,000 subscribers cost while nothing happens.
std::vector<Result> IdleSubscribers();
// Batches of 100 events of 16 attempts, against the same batches in SQL.
std::vector<Result> Ingest();
// One event at a time of 64 attempts, against commits of one row.
std::vector<Result> SingleEvents();
// What a daemon costs that nobody calls.
std::vector<Result> Footprint();

}  // namespace finetuned::bench
