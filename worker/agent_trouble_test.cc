// What goes wrong with a trainer, a checkpoint or a folder, and what the agent says of it.

#include <signal.h>
#include <unistd.h>

#include <fstream>

#include "worker/agent_fixture.h"

namespace finetuned {
namespace {

TEST_F(AgentTest, WeightsThatCanNeverBeRegisteredEndTheRunAndSayWhy) {
  Script(kGoodTrainer);
  StartAgent();
  // Leads through a file.
  ASSERT_TRUE(WriteFileAtomically(daemon_.root + "/models", "not a folder").ok());
  Offer(7, 1, "models/a.b.c/r7");
  const v1::AttemptEnd end = End(7);
  EXPECT_FALSE(end.finished());
  EXPECT_FALSE(end.has_model());
  EXPECT_EQ(end.failure().code(), "MODEL_NOT_REGISTERED");
  EXPECT_EQ(end.failure().attribution(), v1::Failure::INTERNAL);
  EXPECT_EQ(EndAgent(), Agent::kExitOk);
}

TEST_F(AgentTest, ADamagedCheckpointStartsNoTrainer) {
  Script(std::string("touch ") + folder_ + "/started-$FINETUNED_RUN_ID\n" + kGoodTrainer);
  StartAgent();
  Offer(7);
  EXPECT_TRUE(End(7).finished());
  const std::string good = "runs/7/checkpoints/ep1-ba2";
  const auto resume = [&](int64_t run, const std::string& from) {
    v1::Lease lease;
    lease.mutable_attempt()->set_run_id(run);
    lease.mutable_attempt()->set_epoch(1);
    lease.set_artifact_path("runs/7");
    lease.set_checkpoints_path("runs/7/checkpoints");
    lease.set_resume_from(from);
    lease.mutable_spec()->mutable_compute()->set_cpus(1);
    MutexLock lock(daemon_.mutex);
    daemon_.offers.push_back(lease);
    daemon_.changed.NotifyAll();
  };
  // As it was published.
  resume(8, good);
  EXPECT_TRUE(Ended(8));
  EXPECT_TRUE(FileExists(folder_ + "/started-8"));
  // Of the same size, with another byte.
  ASSERT_TRUE(WriteFileAtomically(daemon_.root + "/" + good + "/w", "x\n").ok());
  resume(9, good);
  resume(10, "runs/7/checkpoints/ep9-ba9");
  for (const int64_t run : {9, 10}) {
    const v1::AttemptEnd end = End(run);
    EXPECT_EQ(end.failure().code(), "CHECKPOINT_DAMAGED") << run;
    EXPECT_EQ(end.failure().attribution(), v1::Failure::INFRASTRUCTURE);
    EXPECT_FALSE(FileExists(folder_ + "/started-" + std::to_string(run)));
  }
  EXPECT_EQ(EndAgent(), Agent::kExitOk);
}

TEST_F(AgentTest, ATrainerThatHangsIsStoppedAndTheEndSaysSo) {
  config_.mutable_trainer_stall_duration()->set_seconds(1);
  // It is not silent while it works, and must not be stopped then.
  Script(
      "for i in 1 2 3 4 5 6; do say '{\"type\":\"working\"}'; sleep 0.4; done\n"
      "say '{\"type\":\"train_updated_soon\"}'; trap '' TERM\n"
      "while :; do sleep 0.1; done");
  StartAgent();
  Offer(7);
  const v1::AttemptEnd end = End(7);
  EXPECT_FALSE(end.finished());
  EXPECT_EQ(end.failure().code(), "TRAINER_STALLED");
  EXPECT_EQ(end.failure().attribution(), v1::Failure::STALLED);
  EXPECT_EQ(end.signal(), 9);
  EXPECT_TRUE(end.signaled_by_worker());
  // What it said before it hung is there, and `working` is no event.
  EXPECT_EQ(Types(7),
            (std::vector<v1::RunEvent::Type>{v1::RunEvent::STARTED, v1::RunEvent::OTHER}));
  EXPECT_EQ(EndAgent(), Agent::kExitOk);
}

TEST_F(AgentTest, AFailureCarriesItsWordsAndTheEndOfStandardError) {
  Script(
      "say "
      "'{\"type\":\"failed\",\"code\":\"NO_TEXT_FILES\",\"message\":\"m\",\"attribution\":\"user\"}"
      "'; "
      "echo oops >&2; exit 65");
  StartAgent();
  Offer(7);
  const v1::AttemptEnd end = End(7);
  EXPECT_FALSE(end.finished());
  EXPECT_EQ(end.exit_code(), 65);
  EXPECT_EQ(end.failure().code(), "NO_TEXT_FILES");
  EXPECT_EQ(end.failure().attribution(), v1::Failure::USER);
  EXPECT_EQ(end.failure().stderr_tail(), "oops\n");
}

TEST_F(AgentTest, ACancelOfARunWhoseTrainerCannotBeStartedEndsIt) {
  config_.clear_model_roots();
  config_.add_model_roots("/models");
  ASSERT_TRUE(WriteFileAtomically(daemon_.root + "/runs", "no folder").ok());
  StartAgent();
  Offer(7);
  ASSERT_TRUE(Eventually([&] {
    MutexLock lock(daemon_.mutex);
    return daemon_.held.count({7, 1}) > 0;
  }));
  {
    MutexLock lock(daemon_.mutex);
    daemon_.held[{7, 1}].set_desired_stop(v1::CANCEL);
  }
  const v1::AttemptEnd end = End(7);
  EXPECT_EQ(end.stop(), v1::CANCEL);
  EXPECT_FALSE(end.has_failure());
  EXPECT_FALSE(end.has_exit_code());
}

TEST_F(AgentTest, ATrainerThatRemovesItsEventFileStillEnds) {
  Script(
      "say '{\"type\":\"data_validated\"}'; sleep 0.3\n"
      "case $FINETUNED_RUN_NAME in\n"
      "  r1) rm -f $FINETUNED_EVENTS; mkfifo $FINETUNED_EVENTS;;\n"
      "  r2) rm -f $FINETUNED_EVENTS; mkdir $FINETUNED_EVENTS;;\n"
      "  r3) ln -sf /etc/passwd $FINETUNED_EVENTS;;\n"
      "esac; exit 3");
  StartAgent();
  for (const int64_t run : {1, 2, 3}) {
    Offer(run);
    EXPECT_EQ(End(run).exit_code(), 3) << run;
    EXPECT_EQ(Types(run).back(), v1::RunEvent::OTHER) << run;
  }
}

// One attempt whose folder is damaged, and leftovers that are no attempts, cost the others nothing.

TEST_F(AgentTest, ADamagedAttemptIsKilledAndTheOthersGoOn) {
  Script("echo $$ > $FINETUNED_SCRATCH_DIR/../pid; while [ ! -e " + folder_ +
         "/go ]; do sleep 0.05; done\n" + kGoodTrainer);
  StartAgent();
  Offer(1);
  Offer(2);
  const AttemptDir damaged(config_.work_dir(), {1, 1}), good(config_.work_dir(), {2, 1});
  ASSERT_TRUE(
      Eventually([&] { return FileExists(damaged.File("pid")) && FileExists(good.File("pid")); }));
  EndAgent();
  ASSERT_TRUE(WriteFileAtomically(damaged.File("notes.json"), "damaged").ok());
  ASSERT_TRUE(MakeDirectories(config_.work_dir() + "/attempts/.trash-9-9/x").ok());
  StartAgent();
  EXPECT_NE(engine_.Observe(damaged)->state, Observation::State::kRunning);
  ASSERT_TRUE(WriteFileAtomically(folder_ + "/go", "").ok());
  EXPECT_TRUE(End(2).finished());
  EXPECT_FALSE(FileExists(config_.work_dir() + "/attempts/.trash-9-9"));
}

}  // namespace
}  // namespace finetuned
