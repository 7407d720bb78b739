#include "worker/agent.h"

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <fstream>

#include "base/file.h"
#include "base/grpc_status.h"
#include "base/status.h"
#include "base/time.h"
#include "nlohmann/json.hpp"
#include "worker/process_engine.h"
#include "worker/test_support.h"

namespace finetuned {
namespace {

const char kShim[] = FINETUNED_BIN_DIR "/finetuned-shim";

// The daemon's side of the protocol, as far as one worker can tell: it hands out what is in
// `offers`, stores reports by number and ends by attempt. Not a queue.
class ScriptedDaemon final : public v1::WorkerService::Service {
 public:
  grpc::Status OpenSession(grpc::ServerContext* context, const v1::OpenSessionRequest* request,
                           v1::OpenSessionResponse* response) override {
    MutexLock lock(mutex);
    const auto token = context->client_metadata().find("authorization");
    if (token == context->client_metadata().end() || token->second != "Bearer secret") {
      return grpc::Status(grpc::StatusCode::UNAUTHENTICATED, "no token");
    }
    if (!ArtifactStore(root).ReadNonce(request->nonce_name()).ok()) {
      return ToGrpc(
          MakeError(absl::StatusCode::kFailedPrecondition, "ARTIFACT_ROOT_MISMATCH", "no"));
    }
    response->set_session(++session);
    for (const auto& ref : request->attempts()) {
      const auto found = held.find(KeyOf(ref));
      if (found == held.end()) {
        *response->add_kill() = ref;
        continue;
      }
      found->second.set_acked_report(static_cast<int64_t>(reports[KeyOf(ref)].size()));
      *response->add_keep() = found->second;
    }
    *response->mutable_times()->mutable_renew_interval_duration() =
        ToProtoDuration(absl::Milliseconds(100));
    *response->mutable_times()->mutable_self_stop_duration() = ToProtoDuration(self_stop);
    *response->mutable_times()->mutable_grace_duration() = ToProtoDuration(absl::Seconds(5));
    return grpc::Status::OK;
  }
  grpc::Status AcquireLeases(grpc::ServerContext* context, const v1::AcquireLeasesRequest* request,
                             v1::AcquireLeasesResponse* response) override {
    MutexLock lock(mutex);
    const absl::Duration until = RealClock::Get().SinceBoot() + absl::Seconds(1);
    while (offers.empty() && !context->IsCancelled() && RealClock::Get().SinceBoot() < until) {
      changed.WaitFor(mutex, absl::Milliseconds(20));
    }
    if (request->session() != session) return Superseded();
    for (const v1::Lease& lease : offers) {
      held[KeyOf(lease.attempt())] = lease;
      *response->add_leases() = lease;
    }
    offers.clear();
    return grpc::Status::OK;
  }
  grpc::Status RenewLeases(grpc::ServerContext*, const v1::RenewLeasesRequest* request,
                           v1::RenewLeasesResponse* response) override {
    MutexLock lock(mutex);
    if (unreachable) return grpc::Status(grpc::StatusCode::UNAVAILABLE, "down");
    if (request->session() != session) return Superseded();
    for (const auto& item : request->items()) {
      auto& result = *response->add_results();
      *result.mutable_attempt() = item.attempt();
      const auto found = held.find(KeyOf(item.attempt()));
      if (found == held.end()) {
        *result.mutable_status() = Lost();
      } else {
        result.set_desired_stop(found->second.desired_stop());
      }
    }
    ++renewals;
    draining = request->draining();
    return grpc::Status::OK;
  }
  grpc::Status ReportEvents(grpc::ServerContext*, const v1::ReportEventsRequest* request,
                            v1::ReportEventsResponse* response) override {
    MutexLock lock(mutex);
    if (unreachable) return grpc::Status(grpc::StatusCode::UNAVAILABLE, "down");
    if (request->session() != session) return Superseded();
    for (const auto& item : request->items()) {
      auto& result = *response->add_results();
      *result.mutable_attempt() = item.attempt();
      const AttemptKey key = KeyOf(item.attempt());
      if (held.count(key) == 0) {
        *result.mutable_status() = Lost();
        continue;
      }
      auto& stored = reports[key];
      for (const v1::Report& report : item.reports()) {
        if (report.number() == static_cast<int64_t>(stored.size()) + 1) {
          stored.push_back(report.event());
        } else if (report.number() > static_cast<int64_t>(stored.size())) {
          gap = true;
        }
      }
      result.set_acked_report(static_cast<int64_t>(stored.size()));
    }
    return grpc::Status::OK;
  }
  grpc::Status CompleteAttempts(grpc::ServerContext*, const v1::CompleteAttemptsRequest* request,
                                v1::CompleteAttemptsResponse* response) override {
    MutexLock lock(mutex);
    if (request->session() != session) return Superseded();
    for (const auto& item : request->items()) {
      auto& result = *response->add_results();
      *result.mutable_attempt() = item.attempt();
      const AttemptKey key = KeyOf(item.attempt());
      if (item.last_report() > static_cast<int64_t>(reports[key].size())) gap = true;
      ends[key] = item.end();
      held.erase(key);
    }
    return grpc::Status::OK;
  }

  static grpc::Status Superseded() {
    return ToGrpc(MakeError(absl::StatusCode::kFailedPrecondition, "SESSION_SUPERSEDED", "newer"));
  }
  static google::rpc::Status Lost() {
    return ToProto(MakeError(absl::StatusCode::kFailedPrecondition, "LEASE_LOST", "not current"));
  }

  std::string root;
  Mutex mutex;
  CondVar changed;
  absl::Duration self_stop = absl::Minutes(5);
  int64_t session = 0;
  int renewals = 0;
  bool unreachable = false;
  bool draining = false;
  bool gap = false;
  std::vector<v1::Lease> offers;
  std::map<AttemptKey, v1::Lease> held;
  std::map<AttemptKey, std::vector<v1::RunEvent>> reports;
  std::map<AttemptKey, v1::AttemptEnd> ends;
};

class AgentTest : public ::testing::Test {
 protected:
  AgentTest() : engine_(kShim), folder_(NewTempFolder()) {
    daemon_.root = folder_ + "/root";
    EXPECT_TRUE(MakeDirectories(daemon_.root).ok());
    EXPECT_TRUE(WriteFileAtomically(folder_ + "/token", "secret\n").ok());
    StartServer();
    config_.set_daemon("127.0.0.1:" + std::to_string(port_));
    config_.set_token_file(folder_ + "/token");
    config_.set_name("w1");
    config_.set_artifact_root(daemon_.root);
    config_.set_work_dir(folder_ + "/work");
    config_.add_model_roots("/models");
    config_.set_trainer_dir(folder_);
    config_.mutable_capacity()->set_cpus(4);
    Script("exit 1");
  }
  ~AgentTest() override {
    if (agent_ != nullptr) EndAgent();
    const auto keys = AttemptDir::List(config_.work_dir());
    for (const AttemptKey& key : *keys) {
      const AttemptDir dir(config_.work_dir(), key);
      EXPECT_TRUE(engine_.Kill(dir).ok());
      EXPECT_TRUE(
          Eventually([&] { return engine_.Observe(dir)->state != Observation::State::kRunning; }));
    }
    StopServer();
  }
  // On the same port each time.
  void StartServer() {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:" + std::to_string(port_),
                             grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(&daemon_);
    server_ = builder.BuildAndStart();
    ASSERT_NE(server_, nullptr);
  }
  void StopServer() { server_->Shutdown(std::chrono::system_clock::now()); }
  // The trainer: a shell script under the real contract.
  void Script(const std::string& text) {
    config_.clear_trainer_command();
    for (const std::string& word :
         {std::string("/bin/sh"), std::string("-c"),
          "say() { printf '%s\\n' \"$1\" >> \"$FINETUNED_EVENTS\"; }\n" + text}) {
      config_.add_trainer_command(word);
    }
  }
  void StartAgent() {
    Agent::Options options;
    options.config = config_;
    options.engine = &engine_;
    options.clock = &RealClock::Get();
    auto agent = Agent::Create(std::move(options));
    ASSERT_TRUE(agent.ok()) << agent.status();
    agent_ = *std::move(agent);
    thread_ = std::thread([this] { exit_code_ = agent_->Run(); });
  }
  int EndAgent() {
    agent_->Stop();
    return JoinAgent();
  }
  int JoinAgent() {
    thread_.join();
    agent_.reset();
    return exit_code_;
  }
  void Offer(int64_t run, int64_t epoch = 1, const std::string& register_path = "") {
    v1::Lease lease;
    lease.mutable_attempt()->set_run_id(run);
    lease.mutable_attempt()->set_epoch(epoch);
    lease.set_run("workspaces/w/runs/r" + std::to_string(run));
    lease.set_artifact_path("runs/" + std::to_string(run));
    lease.set_checkpoints_path("runs/" + std::to_string(run) + "/checkpoints");
    lease.set_register_path(register_path);
    lease.mutable_spec()->mutable_compute()->set_cpus(1);
    MutexLock lock(daemon_.mutex);
    daemon_.offers.push_back(lease);
    daemon_.changed.NotifyAll();
  }
  bool Ended(int64_t run) {
    return Eventually([&] {
      MutexLock lock(daemon_.mutex);
      return daemon_.ends.count({run, 1}) > 0;
    });
  }
  v1::AttemptEnd End(int64_t run) {
    EXPECT_TRUE(Ended(run));
    MutexLock lock(daemon_.mutex);
    EXPECT_FALSE(daemon_.gap);
    return daemon_.ends[{run, 1}];
  }
  std::vector<v1::RunEvent::Type> Types(int64_t run) {
    MutexLock lock(daemon_.mutex);
    std::vector<v1::RunEvent::Type> types;
    for (const v1::RunEvent& event : daemon_.reports[{run, 1}]) types.push_back(event.type());
    return types;
  }
  bool WaitForFile(const std::string& name) {
    return Eventually([&] { return FileExists(folder_ + "/" + name); });
  }

  const ProcessEngine engine_;
  const std::string folder_;
  ScriptedDaemon daemon_;
  std::unique_ptr<grpc::Server> server_;
  int port_ = 0;
  config::v1::WorkerConfig config_;
  std::unique_ptr<Agent> agent_;
  std::thread thread_;
  int exit_code_ = -1;
};

constexpr char kGoodTrainer[] =
    "say '{\"type\":\"data_validated\",\"examples\":3}'; say '{\"type\":\"model_initialized\"}'\n"
    "say '{\"type\":\"progress\",\"step\":1,\"total_batches\":2,\"metrics\":{\"train/loss\":2}}'\n"
    "say '{\"type\":\"progress\",\"step\":2,\"total_batches\":2,\"metrics\":{\"train/loss\":1}}'\n"
    "mkdir -p $FINETUNED_CHECKPOINT_DIR/ep1-ba2 $FINETUNED_CHECKPOINT_DIR/huggingface/ba2\n"
    "echo w > $FINETUNED_CHECKPOINT_DIR/ep1-ba2/w; echo m > "
    "$FINETUNED_CHECKPOINT_DIR/huggingface/ba2/m\n"
    "say '{\"type\":\"train_finished\"}'\n"
    "say "
    "'{\"type\":\"checkpoint\",\"path\":\"ep1-ba2\",\"huggingface\":\"huggingface/"
    "ba2\",\"step\":2}'\n";

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

TEST_F(AgentTest, AnotherArtifactRootOrABadTokenIsRefused) {
  ASSERT_TRUE(MakeDirectories(folder_ + "/other").ok());
  config_.set_artifact_root(folder_ + "/other");
  StartAgent();
  EXPECT_EQ(JoinAgent(), Agent::kExitRefused);
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
