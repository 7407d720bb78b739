#pragma once

#include <vector>

#include "tests/bench/results.h"

// The benchmarks. Each makes what it needs, measures three rounds, checks that nothing was lost or
// doubled on the way (and aborts otherwise), and says what came out.

namespace finetuned::bench {

inline constexpr int kRounds = 3;

// CreateRun over gRPC, against the same rows in one statement of SQL: of 10,000 owners, and of one.
std::vector<Result> Create();
std::vector<Result> CreateHot();
// The same against single enqueues of other queues; nothing where they are not installed.
std::vector<Result> CreateAgainstPeers();
// Runs that do nothing, from the queue to their ends, against the same rows in SQL.
std::vector<Result> DrainQueue();
// The same beside a transaction that stays open.
std::vector<Result> DrainUnderSnapshot();
// Creates, leases and listings while more and more runs wait.
std::vector<Result> Backlog();
// A daemon that is killed under load and started again.
std::vector<Result> Recovery();
// From CreateRun to the lease at an idle worker.
std::vector<Result> DispatchRuns();
// Owners at their limit, whose runs end meanwhile.
std::vector<Result> QuotaStorm();
// 100,000 leases renewed every 5 seconds.
std::vector<Result> Heartbeats();
// Pages of listings among very many runs.
std::vector<Result> ListLarge();
// 1,000 subscribers who come back at once.
std::vector<Result> Resume();
// 1,000 subscribers to one run, and one beside them that takes nothing.
std::vector<Result> FanOut();
// 1,000 subscribers to one run, as fast as they take its events, against raw TCP.
std::vector<Result> FanOutCeiling();
// What 10,000 subscribers cost while nothing happens.
std::vector<Result> IdleSubscribers();
// Batches of 100 events of 16 attempts, against the same batches in SQL.
std::vector<Result> Ingest();
// One event at a time of 64 attempts, against commits of one row.
std::vector<Result> SingleEvents();
// What a daemon costs that nobody calls.
std::vector<Result> Footprint();

}  // namespace finetuned::bench
