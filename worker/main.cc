// finetuned-worker: the node agent. See worker/agent.h for what it does and its exit status.

#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <map>
#include <string>
#include <thread>

#include "base/clock.h"
#include "base/config.h"
#include "base/grpc_locks.h"
#include "base/grpc_log.h"
#include "base/logging.h"
#include "base/status.h"
#include "finetuned/config/v1/config.pb.h"
#include "worker/agent.h"
#include "worker/process_engine.h"

namespace {

// Of sysexits.h.
constexpr int kExitUsage = 64;

#ifndef FINETUNED_VERSION
#define FINETUNED_VERSION "0.1.0"
#endif

// The shim lies beside the agent.
std::string ShimPath() {
  char path[PATH_MAX];
  const ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
  if (length <= 0) return "finetuned-shim";
  const std::string self(path, static_cast<size_t>(length));
  return self.substr(0, self.rfind('/') + 1) + "finetuned-shim";
}

int Fail(const absl::Status& status) {
  fprintf(stderr, "finetuned-worker: %s\n", std::string(status.message()).c_str());
  using finetuned::Agent;
  if (absl::IsUnavailable(status)) return Agent::kExitUnavailable;
  return finetuned::ErrorReason(status) == "WORK_DIR_IN_USE" ? Agent::kExitWorkDirInUse
                                                             : Agent::kExitRefused;
}

}  // namespace

int main(int argc, char** argv) {
  using finetuned::Agent;
  finetuned::ConfigSources sources;
  sources.environment_prefix = "FINETUNED_";
  sources.environment = finetuned::ProcessEnvironment();
  std::map<std::string, std::string> flags;
  CLI::App app("The node agent of finetuned: takes runs from the daemon and runs their trainers.");
  app.set_version_flag("--version", FINETUNED_VERSION);
  app.add_option("--config", sources.file, "YAML file with the configuration");
  const auto* descriptor = finetuned::config::v1::WorkerConfig::descriptor();
  for (const std::string& path : finetuned::ConfigPaths(descriptor)) {
    app.add_option("--" + path, flags[path], "overrides `" + path + "` of the configuration");
  }
  app.footer(
      "Exit status: 0 it was told to stop; 1 the configuration or the daemon refused; 4 another\n"
      "agent has taken this worker's name over; 5 another agent runs in this work_dir; 64 wrong\n"
      "usage; 69 the artifact root is not there, or is not the daemon's.");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);
    fprintf(stderr, "finetuned-worker: %s; see finetuned-worker --help\n", error.what());
    return kExitUsage;
  }
  for (const auto& [path, value] : flags) {
    if (app.count("--" + path) > 0) sources.overrides.emplace_back(path, value);
  }

  // Before the first thread: every one inherits it, and the signals wait for the one that takes
  // them.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);

  Agent::Options options;
  absl::Status status = finetuned::LoadConfig(sources, &options.config);
  if (!status.ok()) return Fail(status);
  status = finetuned::InitLogging("finetuned-worker", options.config.log_level());
  if (!status.ok()) return Fail(status);
  finetuned::StopDeadlockDetection();
  finetuned::RouteGrpcLog();
  const finetuned::ProcessEngine engine(ShimPath());
  options.engine = &engine;
  options.clock = &finetuned::RealClock::Get();
  options.version = FINETUNED_VERSION;
  auto agent = Agent::Create(std::move(options));
  if (!agent.ok()) return Fail(agent.status());

  std::thread signal_thread([&signals, &agent] {
    int number = 0;
    sigwait(&signals, &number);
    (*agent)->Stop();
  });
  const int exit_code = (*agent)->Run();
  // The thread may still wait: it is released by its own signal.
  pthread_kill(signal_thread.native_handle(), SIGTERM);
  signal_thread.join();
  return exit_code;
}
