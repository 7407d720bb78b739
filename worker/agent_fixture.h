#pragma once

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "base/file.h"
#include "base/grpc_status.h"
#include "base/status.h"
#include "base/time.h"
#include "nlohmann/json.hpp"
#include "worker/agent.h"
#include "worker/process_engine.h"
#include "worker/test_support.h"

// For tests of the agent: a daemon that answers as the test says, and trainers that are scripts.

namespace finetuned {

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
    // A lease that the agent does not list is told at once.
    const auto is_listed = [request](const auto& entry) {
      return std::any_of(request->held().begin(), request->held().end(),
                         [&](const v1::AttemptRef& ref) { return KeyOf(ref) == entry.first; });
    };
    const bool all_listed = std::all_of(held.begin(), held.end(), is_listed);
    while (all_listed && offers.empty() && !context->IsCancelled() &&
           RealClock::Get().SinceBoot() < until) {
      changed.WaitFor(mutex, absl::Milliseconds(20));
    }
    if (request->session() != session) return Superseded();
    for (const v1::Lease& lease : offers) held[KeyOf(lease.attempt())] = lease;
    offers.clear();
    // New ones, and those whose answer was lost: the agent gives up a poll when what is free has
    // changed.
    for (const auto& entry : held) {
      if (!is_listed(entry)) *response->add_leases() = entry.second;
    }
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

  grpc::Status SweepFiles(grpc::ServerContext*, const v1::SweepFilesRequest* request,
                          v1::SweepFilesResponse* response) override {
    MutexLock lock(mutex);
    receipts.push_back(request->receipt());
    if (sweeps.empty()) return grpc::Status::OK;
    *response = sweeps.front();
    sweeps.erase(sweeps.begin());
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
  // Answers of SweepFiles, and what came with the calls.
  std::vector<v1::SweepFilesResponse> sweeps;
  std::vector<std::string> receipts;
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

inline constexpr char kGoodTrainer[] =
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

}  // namespace finetuned
