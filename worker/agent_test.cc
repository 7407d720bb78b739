// The agent in its daily work: leases, reports, ends, outages, and the next agent.

#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <fstream>

#include "worker/agent_fixture.h"

namespace finetuned {
namespace {

TEST_F(AgentTest, ARunGoesFromItsLeaseToItsEnd) {
  Script(kGoodTrainer);
  StartAgent();
  Offer(7);
  EXPECT_TRUE(End(7).finished());
  EXPECT_EQ(Types(7), (std::vector<v1::RunEvent::Type>{
                          v1::RunEvent::STARTED, v1::RunEvent::DATA_VALIDATED,
                          v1::RunEvent::MODEL_INITIALIZED, v1::RunEvent::TRAIN_UPDATED,
                          v1::RunEvent::TRAIN_UPDATED, v1::RunEvent::TRAIN_FINISHED,
                          v1::RunEvent::CHECKPOINT_SAVED}));
  EXPECT_TRUE(FileExists(daemon_.root + "/runs/7/checkpoints/ep1-ba2/manifest.json"));
  EXPECT_TRUE(Eventually([&] { return AttemptDir::List(config_.work_dir())->empty(); }));
  EXPECT_EQ(EndAgent(), Agent::kExitOk);
  EXPECT_TRUE(daemon_.draining);
}

TEST_F(AgentTest, TheFinalWeightsAreCopiedToWhereTheyAreRegistered) {
  Script(kGoodTrainer);
  StartAgent();
  Offer(7, 1, "models/a.b.c/r7");
  const v1::AttemptEnd end = End(7);
  EXPECT_TRUE(end.finished());
  EXPECT_EQ(end.model().checkpoint(), "ep1-ba2");
  EXPECT_EQ(end.model().size_bytes(), 2);
  EXPECT_EQ(*ReadFile(daemon_.root + "/models/a.b.c/r7/m", 10), "m\n");
  EXPECT_TRUE(FileExists(daemon_.root + "/models/a.b.c/r7/manifest.json"));
  EXPECT_EQ(EndAgent(), Agent::kExitOk);
}

TEST_F(AgentTest, WhatIsPastItsRetentionIsDeletedAndSaidToBe) {
  const std::string log = daemon_.root + "/runs/old/attempts/1/stdout.log";
  ASSERT_TRUE(MakeDirectories(daemon_.root + "/runs/old/attempts/1").ok());
  ASSERT_TRUE(WriteFileAtomically(log, "x").ok());
  v1::SweepFilesResponse sweep;
  sweep.set_files(v1::SweepFilesResponse::LOGS);
  sweep.add_artifact_paths("runs/old");
  sweep.set_receipt("r1");
  {
    MutexLock lock(daemon_.mutex);
    daemon_.sweeps = {sweep};
  }
  StartAgent();
  EXPECT_TRUE(Eventually([&] {
    MutexLock lock(daemon_.mutex);
    return daemon_.receipts == std::vector<std::string>{"", "r1"};
  }));
  EXPECT_FALSE(FileExists(log));
  EXPECT_EQ(EndAgent(), Agent::kExitOk);
}

TEST_F(AgentTest, ACancelReachesTheTrainerThroughTheControlFileAndASignal) {
  Script(
      "trap 'cat $FINETUNED_CONTROL > control; exit 143' TERM; echo > ready; while :; do sleep "
      "0.05; done");
  StartAgent();
  Offer(7);
  ASSERT_TRUE(WaitForFile("ready"));
  {
    MutexLock lock(daemon_.mutex);
    daemon_.held[{7, 1}].set_desired_stop(v1::CANCEL);
  }
  const v1::AttemptEnd end = End(7);
  EXPECT_EQ(end.stop(), v1::CANCEL);
  EXPECT_TRUE(end.signaled_by_worker());
  EXPECT_EQ(end.exit_code(), 143);
  EXPECT_FALSE(end.has_failure());
  EXPECT_NE(ReadFile(folder_ + "/control")->find("\"cancel\""), std::string::npos);
}

TEST_F(AgentTest, TheNextAgentAdoptsTheTrainerAndNothingIsLostOrDoubled) {
  Script(
      "echo x >> starts; say '{\"type\":\"data_validated\",\"examples\":1}'; echo > ready\n"
      "while [ ! -e go ]; do sleep 0.05; done\n" +
      std::string(kGoodTrainer));
  StartAgent();
  Offer(7);
  ASSERT_TRUE(WaitForFile("ready"));
  ASSERT_TRUE(Eventually([&] { return Types(7).size() == 2; }));
  EXPECT_EQ(EndAgent(), Agent::kExitOk);
  std::ofstream(folder_ + "/go") << "x";
  // The trainer goes on, and ends, while there is no agent.
  const AttemptDir dir(config_.work_dir(), {7, 1});
  ASSERT_TRUE(Eventually([&] { return FileExists(dir.File("exit.json")); }));
  StartAgent();
  EXPECT_TRUE(End(7).finished());
  EXPECT_EQ(Types(7).size(), 8u);
  EXPECT_EQ(*ReadFile(folder_ + "/starts"), "x\n");
}

TEST_F(AgentTest, AnAttemptThatIsNotCurrentAnyMoreIsKilledAndForgotten) {
  Script("echo $$ > pid.tmp; mv pid.tmp pid; trap '' TERM; while :; do sleep 0.05; done");
  StartAgent();
  Offer(7);
  ASSERT_TRUE(WaitForFile("pid"));
  {
    MutexLock lock(daemon_.mutex);
    daemon_.held.clear();
  }
  EXPECT_TRUE(Eventually([&] { return AttemptDir::List(config_.work_dir())->empty(); }));
  EXPECT_NE(kill(atoi(ReadFile(folder_ + "/pid")->c_str()), 0), 0);
  EXPECT_TRUE(daemon_.ends.empty());
}

TEST_F(AgentTest, ASupersededAgentKillsItsTrainersAndSaysSo) {
  Script("echo $$ > pid.tmp; mv pid.tmp pid; while :; do sleep 0.05; done");
  StartAgent();
  Offer(7);
  ASSERT_TRUE(WaitForFile("pid"));
  {
    MutexLock lock(daemon_.mutex);
    ++daemon_.session;
  }
  EXPECT_EQ(JoinAgent(), Agent::kExitSuperseded);
  EXPECT_NE(kill(atoi(ReadFile(folder_ + "/pid")->c_str()), 0), 0);
}

TEST_F(AgentTest, AShortOutageStopsNothingAndALongOneStopsTheTrainer) {
  daemon_.self_stop = absl::Seconds(3);
  Script(
      "trap 'cat $FINETUNED_CONTROL > control; exit 0' TERM; echo > ready; while :; do sleep 0.05; "
      "done");
  StartAgent();
  Offer(7);
  ASSERT_TRUE(WaitForFile("ready"));
  const auto set_unreachable = [&](bool value) {
    MutexLock lock(daemon_.mutex);
    daemon_.unreachable = value;
    return daemon_.renewals;
  };
  const int before = set_unreachable(true);
  set_unreachable(false);
  ASSERT_TRUE(Eventually([&] {
    MutexLock lock(daemon_.mutex);
    return daemon_.renewals > before + 1;
  }));
  EXPECT_FALSE(FileExists(folder_ + "/control"));
  set_unreachable(true);
  ASSERT_TRUE(WaitForFile("control"));
  set_unreachable(false);
  EXPECT_EQ(End(7).failure().code(), "WORKER_DISCONNECTED");
  EXPECT_NE(ReadFile(folder_ + "/control")->find("\"preempt\""), std::string::npos);
}

// The artifact root has no room for it, say: a cancel must not wait until it has.
TEST_F(AgentTest, WithStopTrainersOnExitTheTrainersArePreemptedAndReported) {
  config_.set_stop_trainers_on_exit(true);
  Script("trap 'exit 75' TERM; echo > ready; while :; do sleep 0.05; done");
  StartAgent();
  Offer(7);
  ASSERT_TRUE(WaitForFile("ready"));
  EXPECT_EQ(EndAgent(), Agent::kExitOk);
  EXPECT_EQ(End(7).stop(), v1::PREEMPT);
  EXPECT_EQ(End(7).exit_code(), 75);
}

TEST_F(AgentTest, WithTheDaemonAwayAStoppedAgentLeavesTheReportToTheNextOne) {
  config_.set_stop_trainers_on_exit(true);
  Script("trap 'exit 75' TERM; echo > ready; while :; do sleep 0.05; done");
  StartAgent();
  Offer(7);
  ASSERT_TRUE(WaitForFile("ready"));
  StopServer();
  const absl::Duration asked = RealClock::Get().SinceBoot();
  EXPECT_EQ(EndAgent(), Agent::kExitOk);
  EXPECT_LT(RealClock::Get().SinceBoot() - asked, absl::Seconds(30));
  StartServer();
  StartAgent();
  EXPECT_EQ(End(7).stop(), v1::PREEMPT);
  EXPECT_EQ(End(7).exit_code(), 75);
}

TEST_F(AgentTest, ADaemonThatComesUpIsFoundSoon) {
  StopServer();
  StartAgent();
  // Refused more than once, so that the client backs off.
  absl::SleepFor(absl::Milliseconds(700));
  StartServer();
  const absl::Duration up = RealClock::Get().SinceBoot();
  ASSERT_TRUE(Eventually([&] {
    MutexLock lock(daemon_.mutex);
    return daemon_.session > 0;
  }));
  EXPECT_LT(RealClock::Get().SinceBoot() - up, absl::Seconds(3));
}

TEST_F(AgentTest, ASecondAgentInTheSameWorkFolderIsRefused) {
  StartAgent();
  Agent::Options options;
  options.config = config_;
  options.engine = &engine_;
  options.clock = &RealClock::Get();
  EXPECT_EQ(ErrorReason(Agent::Create(options).status()), "WORK_DIR_IN_USE");
}

TEST_F(AgentTest, AnArtifactRootThatIsGoneIsWaitedFor) {
  Agent::Options options;
  options.config = config_;
  options.config.set_artifact_root(folder_ + "/absent");
  options.engine = &engine_;
  options.clock = &RealClock::Get();
  EXPECT_EQ(ErrorReason(Agent::Create(options).status()), "ARTIFACT_ROOT_NOT_MOUNTED");
  // Gone after the agent has come up, and before it has a session.
  options.config = config_;
  auto agent = Agent::Create(options);
  ASSERT_TRUE(agent.ok()) << agent.status();
  const std::string away = daemon_.root + ".away";
  ASSERT_EQ(rename(daemon_.root.c_str(), away.c_str()), 0);
  std::atomic<bool> ended{false};
  std::thread thread([&] {
    (*agent)->Run();
    ended = true;
  });
  EXPECT_FALSE(Eventually([&] { return ended.load(); }, absl::Seconds(1)));
  ASSERT_EQ(rename(away.c_str(), daemon_.root.c_str()), 0);
  EXPECT_TRUE(Eventually([&] {
    MutexLock lock(daemon_.mutex);
    return daemon_.session > 0;
  }));
  (*agent)->Stop();
  thread.join();
}

TEST_F(AgentTest, AnotherArtifactRootOrABadTokenIsRefused) {
  ASSERT_TRUE(MakeDirectories(folder_ + "/other").ok());
  config_.set_artifact_root(folder_ + "/other");
  StartAgent();
  EXPECT_EQ(JoinAgent(), Agent::kExitUnavailable);
  config_.set_artifact_root(daemon_.root);
  ASSERT_TRUE(WriteFileAtomically(config_.token_file(), "wrong").ok());
  StartAgent();
  EXPECT_EQ(JoinAgent(), Agent::kExitRefused);
}

TEST_F(AgentTest, MoreRunsThanCoresAreNotTaken) {
  Script("echo x >> starts; while [ ! -e go ]; do sleep 0.05; done");
  config_.mutable_capacity()->set_cpus(1);
  StartAgent();
  Offer(7);
  ASSERT_TRUE(WaitForFile("starts"));
  Offer(8);
  MutexLock lock(daemon_.mutex);
  const int renewals = daemon_.renewals;
  while (daemon_.renewals < renewals + 3)
    daemon_.changed.WaitFor(daemon_.mutex, absl::Milliseconds(20));
  EXPECT_EQ(daemon_.offers.size(), 1u);
}

}  // namespace
}  // namespace finetuned
