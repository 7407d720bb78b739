#pragma once

#include <string>

#include "tests/bench/daemon_process.h"
#include "tests/support/test_daemon.h"

namespace finetuned::bench {

// Owners `bench-N@example.com` of the workspace `default`, each with the token `bench-N`, from 1.
void MakeOwners(const TestInstallation& installation, int count, int active_limit);
std::string TokenOf(int owner);

// One run of the first owner, which is over, so that what others of its kind need is there.
void CreateFirst(const TestInstallation& installation, const DaemonProcess& daemon);

// So many runs of them that wait, as if created one after the other, of the kind of the first run.
void QueueRuns(const TestInstallation& installation, int owners, int64_t count);

// One create as one statement of plain SQL, a script of pgbench: the counter under a condition, and
// the same rows with the same columns and indexes. `owner` is an expression of pgbench. One run of
// the experiment /bench must have been created before.
std::string PlainCreate(const TestInstallation& installation, const std::string& owner,
                        const std::string& condition);

// Ends the program where an owner's counter is not the count of its active runs, or above its
// limit.
void CheckCounters(const TestInstallation& installation);

}  // namespace finetuned::bench
