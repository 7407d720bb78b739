#pragma once

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "artifacts/artifact_store.h"
#include "base/grpc_status.h"
#include "base/status.h"
#include "base/time.h"
#include "tests/support/test_daemon.h"

namespace finetuned {

// A daemon on a real Postgres, a user of it, and a worker that the test plays by hand.
class LifecycleTest : public ::testing::Test {
 protected:
  LifecycleTest()
      : server_(installation_.StartDaemon()),
        user_(server_->listen(), installation_.Token("ann@example.com", "user")),
        worker_(installation_, *server_, "w1") {}

  // Creates a run and has the worker lease it.
  v1::AttemptRef StartRun() {
    const auto run = user_.Create(ValidRequest(installation_));
    EXPECT_TRUE(run.ok()) << run.status();
    name_ = run->name();
    EXPECT_TRUE(worker_.Open().ok());
    return LeaseAgain();
  }

  v1::AttemptRef LeaseAgain() {
    const auto acquired = worker_.Acquire();
    EXPECT_TRUE(acquired.ok()) << acquired.status();
    EXPECT_EQ(acquired->leases_size(), 1);
    if (!acquired.ok() || acquired->leases_size() == 0) return {};
    worker_.held = {acquired->leases(0).attempt()};
    lease_ = acquired->leases(0);
    return lease_.attempt();
  }

  v1::Run Run() { return *user_.Get(name_); }

  std::vector<v1::RunEvent::Type> EventTypes() {
    std::vector<v1::RunEvent::Type> types;
    int64_t seq = 0;
    const auto events = user_.Events(name_);
    for (const auto& event : events->events()) {
      EXPECT_EQ(event.seq(), ++seq);
      types.push_back(event.type());
    }
    EXPECT_EQ(events->last_seq(), seq);
    return types;
  }

  static v1::AttemptEnd Exit(int code, bool finished = false) {
    v1::AttemptEnd end;
    end.set_exit_code(code);
    end.set_finished(finished);
    return end;
  }

  TestInstallation installation_;
  std::unique_ptr<Server> server_;
  TestClient user_;
  TestWorker worker_;
  std::string name_;
  v1::Lease lease_;
};

}  // namespace finetuned
