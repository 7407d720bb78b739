#include "worker/process_engine.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

#include "base/clock.h"
#include "base/file.h"
#include "nlohmann/json.hpp"
#include "worker/test_support.h"

namespace finetuned {
namespace {

const char kShim[] = FINETUNED_BIN_DIR "/finetuned-shim";

// The real shim, with shell scripts for trainers.
class ProcessEngineTest : public ::testing::Test {
 protected:
  ProcessEngineTest() : engine_(kShim), work_(NewTempFolder()), dir_(work_, {7, 1}) {
    v1::Lease lease;
    EXPECT_TRUE(dir_.Create(lease, AttemptNotes()).ok());
  }
  ~ProcessEngineTest() override {
    EXPECT_TRUE(engine_.Kill(dir_).ok());
    EXPECT_TRUE(Eventually([&] { return State() != Observation::State::kRunning; }));
  }
  TrainerSpec Spec(const std::string& script, absl::Duration grace = absl::Seconds(30)) {
    TrainerSpec spec;
    spec.argv = {"/bin/sh", "-c", script};
    spec.environment = {"PATH=/usr/bin:/bin", "FINETUNED_EVENTS=" + dir_.File("events.jsonl"),
                        "OUT=" + work_ + "/out"};
    spec.stdout_file = work_ + "/stdout";
    spec.stderr_file = work_ + "/stderr";
    spec.grace = grace;
    spec.cwd = work_;
    return spec;
  }
  void Start(const TrainerSpec& spec) { ASSERT_TRUE(engine_.Start(dir_, spec).ok()); }
  Observation::State State() { return engine_.Observe(dir_)->state; }
  ExitRecord WaitForExit() {
    EXPECT_TRUE(Eventually([&] { return State() == Observation::State::kExited; }));
    return engine_.Observe(dir_)->exit;
  }
  bool WaitForFile(const std::string& name) {
    return Eventually([&] { return FileExists(work_ + "/" + name); });
  }
  pid_t PidIn(const std::string& name) {
    EXPECT_TRUE(WaitForFile(name));
    return static_cast<pid_t>(atoi(ReadFile(work_ + "/" + name)->c_str()));
  }
  nlohmann::json ShimFile() { return nlohmann::json::parse(*ReadFile(dir_.File("shim.json"))); }

  const ProcessEngine engine_;
  const std::string work_;
  const AttemptDir dir_;
};

TEST_F(ProcessEngineTest, AnExitStatusAndTheOutputAreKept) {
  EXPECT_EQ(State(), Observation::State::kNotStarted);
  Start(Spec("echo out; echo err >&2; pwd; exit 65"));
  const ExitRecord exit = WaitForExit();
  EXPECT_EQ(exit.exit_code, 65);
  EXPECT_EQ(exit.signal, 0);
  EXPECT_FALSE(exit.signaled);
  EXPECT_EQ(*ReadFile(work_ + "/stdout"), "out\n" + work_ + "\n");
  EXPECT_EQ(*ReadFile(work_ + "/stderr"), "err\n");
  EXPECT_GT(exit.max_rss_bytes, 0);
}

TEST_F(ProcessEngineTest, AKillFromOutsideIsASignalThatTheWorkerDidNotSend) {
  Start(Spec("kill -9 $$"));
  const ExitRecord exit = WaitForExit();
  EXPECT_EQ(exit.signal, 9);
  EXPECT_FALSE(exit.exit_code.has_value());
  EXPECT_FALSE(exit.signaled);
  EXPECT_FALSE(exit.oom_kill);
}

TEST_F(ProcessEngineTest, AProgramThatIsNotThereIsAnExitWithItsError) {
  TrainerSpec spec = Spec("");
  spec.argv = {"/no/such/program"};
  Start(spec);
  EXPECT_EQ(WaitForExit().start_error, ENOENT);
}

TEST_F(ProcessEngineTest, AStopGivesTheTrainerTimeToEndByItself) {
  Start(Spec("trap 'echo saved > saved; exit 0' TERM; echo > ready; while :; do sleep 0.05; done"));
  ASSERT_TRUE(WaitForFile("ready"));
  ASSERT_TRUE(engine_.Stop(dir_).ok());
  const ExitRecord exit = WaitForExit();
  EXPECT_EQ(exit.exit_code, 0);
  EXPECT_TRUE(exit.signaled);
  EXPECT_TRUE(FileExists(work_ + "/saved"));
}

TEST_F(ProcessEngineTest, ATrainerThatIgnoresTheStopIsKilledAfterTheGrace) {
  Start(Spec("trap '' TERM; echo > ready; while :; do sleep 0.05; done", absl::Milliseconds(300)));
  ASSERT_TRUE(WaitForFile("ready"));
  ASSERT_TRUE(engine_.Stop(dir_).ok());
  const ExitRecord exit = WaitForExit();
  EXPECT_EQ(exit.signal, 9);
  EXPECT_TRUE(exit.signaled);
}

TEST_F(ProcessEngineTest, KillDoesNotWaitForTheGrace) {
  Start(Spec("trap '' TERM; echo > ready; while :; do sleep 0.05; done", absl::Hours(1)));
  ASSERT_TRUE(WaitForFile("ready"));
  ASSERT_TRUE(engine_.Kill(dir_).ok());
  EXPECT_EQ(WaitForExit().signal, 9);
}

TEST_F(ProcessEngineTest, NothingThatTheTrainerStartedIsLeft) {
  // A grandchild in a session of its own, whose parent is gone.
  Start(
      Spec("setsid sh -c 'trap \"\" TERM HUP; echo $$ > orphan.tmp; mv orphan.tmp orphan; "
           "while :; do sleep 0.05; done' & while [ ! -e orphan ]; do sleep 0.01; done; exit 0"));
  const pid_t orphan = PidIn("orphan");
  EXPECT_EQ(WaitForExit().exit_code, 0);
  EXPECT_NE(kill(orphan, 0), 0) << "the exit is written when all are gone";
}

TEST_F(ProcessEngineTest, AnAttemptIsStartedOnceWhateverIsTried) {
  const TrainerSpec spec =
      Spec("echo x >> starts; echo > ready; while [ ! -e go ]; do sleep 0.05; done");
  Start(spec);
  ASSERT_TRUE(WaitForFile("ready"));
  for (int i = 0; i < 3; ++i) Start(spec);
  std::ofstream(work_ + "/go") << "x";
  WaitForExit();
  Start(spec);
  EXPECT_EQ(State(), Observation::State::kExited);
  EXPECT_EQ(*ReadFile(work_ + "/starts"), "x\n");
}

TEST_F(ProcessEngineTest, TheShimOutlivesWhoStartedIt) {
  const TrainerSpec spec = Spec("echo > ready; while [ ! -e go ]; do sleep 0.05; done; exit 3");
  const pid_t starter = fork();
  if (starter == 0) {
    setpgid(0, 0);
    const bool ok = engine_.Start(dir_, spec).ok();
    kill(0, SIGKILL);
    _exit(ok ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(starter, &status, 0), starter);
  ASSERT_TRUE(WIFSIGNALED(status));
  ASSERT_TRUE(WaitForFile("ready"));
  EXPECT_EQ(State(), Observation::State::kRunning);
  std::ofstream(work_ + "/go") << "x";
  EXPECT_EQ(WaitForExit().exit_code, 3);
}

TEST_F(ProcessEngineTest, AKilledShimLeavesALostAttemptAndNoTrainer) {
  Start(
      Spec("sh -c 'echo $$ > inner.tmp; mv inner.tmp inner; while :; do sleep 0.05; done' & wait"));
  const pid_t inner = PidIn("inner");
  ASSERT_EQ(kill(ShimFile()["pid"].get<pid_t>(), SIGKILL), 0);
  ASSERT_TRUE(Eventually([&] { return State() == Observation::State::kLost; }));
  EXPECT_TRUE(Eventually([&] { return kill(inner, 0) != 0; }));
  EXPECT_FALSE(engine_.Observe(dir_)->host_restarted);
  // As the next boot finds it.
  nlohmann::json shim = ShimFile();
  shim["boot_id"] = "another";
  ASSERT_TRUE(WriteFileAtomically(dir_.File("shim.json"), shim.dump()).ok());
  EXPECT_TRUE(engine_.Observe(dir_)->host_restarted);
}

TEST_F(ProcessEngineTest, WithoutAnAgentTheShimStopsTheTrainerWhenItsTimeIsOver) {
  TrainerSpec spec = Spec("echo > ready; while :; do sleep 0.05; done");
  spec.deadline_file = work_ + "/deadline";
  const auto in = [](absl::Duration left) {
    return std::to_string(absl::ToInt64Milliseconds(RealClock::Get().SinceBoot() + left)) +
           " boot\n";
  };
  ASSERT_TRUE(WriteFileAtomically(spec.deadline_file, in(absl::Hours(1))).ok());
  Start(spec);
  ASSERT_TRUE(WaitForFile("ready"));
  EXPECT_EQ(State(), Observation::State::kRunning);
  // By more than its margin, and not before the boot.
  ASSERT_TRUE(WriteFileAtomically(spec.deadline_file, in(-absl::Seconds(2))).ok());
  const ExitRecord exit = WaitForExit();
  EXPECT_EQ(exit.signal, SIGTERM);
  EXPECT_TRUE(exit.deadline_passed);
}

TEST_F(ProcessEngineTest, AFolderIsNotRemovedUnderARunningShimAndNoneStartsInARemovedOne) {
  Start(Spec("echo > ready; while :; do sleep 0.05; done"));
  EXPECT_TRUE(absl::IsUnavailable(dir_.Remove()));
  ASSERT_TRUE(engine_.Kill(dir_).ok());
  WaitForExit();
  EXPECT_TRUE(dir_.Remove().ok());
  EXPECT_FALSE(FileExists(dir_.path()));
  EXPECT_FALSE(engine_.Start(dir_, Spec("true")).ok());
  EXPECT_TRUE(AttemptDir::List(work_)->empty());
}

TEST_F(ProcessEngineTest, TheTrainerSeesOnlyWhatItIsGiven) {
  setenv("FINETUNED_TEST_SECRET", "secret", 1);
  const int leak = open("/etc/passwd", O_RDONLY);
  Start(
      Spec("env > environment; ls /proc/self/fd | wc -l > fds; kill -l > /dev/null; "
           "grep SigBlk /proc/self/status > blocked"));
  WaitForExit();
  close(leak);
  unsetenv("FINETUNED_TEST_SECRET");
  EXPECT_EQ(ReadFile(work_ + "/environment")->find("secret"), std::string::npos);
  // Standard input, output, error, and the folder that ls reads.
  EXPECT_EQ(atoi(ReadFile(work_ + "/fds")->c_str()), 4);
  EXPECT_NE(ReadFile(work_ + "/blocked")->find("0000000000000000"), std::string::npos);
}

}  // namespace
}  // namespace finetuned
