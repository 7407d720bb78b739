// What an agent does before it runs: checks its configuration, takes its folder, finds what its
// host has and what earlier agents have left.

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "base/file.h"
#include "base/logging.h"
#include "base/status.h"
#include "base/time.h"
#include "worker/agent.h"
#include "worker/capacity.h"
#include "worker/trainer_env.h"

namespace finetuned {
namespace {

constexpr absl::Duration kKillWait = absl::Seconds(30);
constexpr absl::Duration kMinStallTime = absl::Seconds(1);
constexpr int64_t kMinLogBytes = 1 << 20;
constexpr absl::Duration kKillPause = absl::Milliseconds(200);

absl::Status CheckConfig(const config::v1::WorkerConfig& config) {
  std::vector<FieldViolation> missing;
  const auto require = [&](const char* field, bool present) {
    if (!present) missing.push_back({field, "is required", "REQUIRED"});
  };
  require("token_file", !config.token_file().empty());
  require("artifact_root", !config.artifact_root().empty());
  require("work_dir", !config.work_dir().empty());
  require("model_roots", config.model_roots_size() > 0);
  require("trainer_command", config.trainer_command_size() > 0);
  require("trainer_dir", !config.trainer_dir().empty());
  if (StallTimeOf(config) < kMinStallTime) {
    missing.push_back({"trainer_stall_duration", "must be at least 1s", "OUT_OF_RANGE"});
  }
  if (config.log_max_bytes() != 0 && config.log_max_bytes() < kMinLogBytes) {
    missing.push_back(
        {"log_max_bytes", "must be at least 1048576, or 0 for 1 GiB", "OUT_OF_RANGE"});
  }
  if (!missing.empty()) return InvalidArgument(missing);
  return absl::OkStatus();
}

absl::StatusOr<OwnedFd> LockWorkDir(const std::string& work_dir) {
  const std::string path = work_dir + "/agent.lock";
  OwnedFd fd(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!fd.valid()) return ErrnoError(errno, "cannot open", path);
  struct flock lock = {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  if (fcntl(fd.get(), F_OFD_SETLK, &lock) != 0) {
    if (errno == EAGAIN || errno == EACCES) {
      return MakeError(absl::StatusCode::kFailedPrecondition, "WORK_DIR_IN_USE",
                       "another finetuned-worker runs in the work_dir " + work_dir +
                           "; end it, or give this one a work_dir of its own");
    }
    return ErrnoError(errno, "cannot lock", path);
  }
  return fd;
}

}  // namespace

Agent::Agent(Options options)
    : options_(std::move(options)),
      store_(options_.config.artifact_root()),
      term_(*options_.clock, options_.config.work_dir() + "/lease_deadline") {}

Agent::~Agent() = default;

absl::StatusOr<std::unique_ptr<Agent>> Agent::Create(Options options) {
  config::v1::WorkerConfig& config = options.config;
  FT_RETURN_IF_ERROR(CheckConfig(config));
  if (config.daemon().empty()) config.set_daemon("127.0.0.1:7071");
  if (config.name().empty()) {
    char name[256] = "";
    gethostname(name, sizeof name - 1);
    config.set_name(name);
  }
  FT_RETURN_IF_ERROR(MakeDirectories(config.work_dir(), 0700));
  FT_ASSIGN_OR_RETURN(OwnedFd lock, LockWorkDir(config.work_dir()));
  std::unique_ptr<Agent> agent(new Agent(std::move(options)));
  agent->work_dir_lock_ = std::move(lock);
  FT_RETURN_IF_ERROR(agent->store_.Check());
  FT_ASSIGN_OR_RETURN(agent->client_,
                      DaemonClient::Create(agent->options_.config, *agent->options_.clock));
  FT_RETURN_IF_ERROR(agent->FindCapacity());
  FT_RETURN_IF_ERROR(agent->LoadAttempts());
  return agent;
}

absl::Status Agent::FindCapacity() {
  const config::v1::WorkerConfig& config = options_.config;
  const std::string program = config.gpu_program().empty() ? "nvidia-smi" : config.gpu_program();
  std::vector<Gpu> gpus;
  if (!config.capacity().has_gpus() || config.capacity().gpus() > 0) {
    auto found = QueryGpus(program);
    // Most hosts have none and no such program.
    if (!found.ok() && (!absl::IsNotFound(found.status()) || !config.gpu_program().empty())) {
      Log(LogLevel::kWarning, "cannot look for GPUs", {{"error", found.status()}});
    }
    if (found.ok()) gpus = *std::move(found);
  }
  FT_ASSIGN_OR_RETURN(capacity_, ResolveCapacity(config.capacity(), gpus));
  if (capacity_.gpus() > 0) gpus_ = std::make_unique<GpuMonitor>(program);
  if (gpus_ != nullptr) gpus_->Start();
  return absl::OkStatus();
}

absl::Status Agent::LoadAttempts() {
  FT_ASSIGN_OR_RETURN(const std::vector<AttemptKey> keys,
                      AttemptDir::List(options_.config.work_dir()));
  for (const AttemptKey& key : keys) {
    const AttemptDir dir(options_.config.work_dir(), key);
    FT_ASSIGN_OR_RETURN(const Observation seen, options_.engine->Observe(dir));
    std::shared_ptr<Attempt> attempt;
    if (seen.state != Observation::State::kNotStarted) {
      attempt = OpenAttempt(dir);
      if (attempt == nullptr) {
        // Not listed, it counts as lost and is tried again elsewhere, so its trainer must be gone
        // first. The others are not to pay for it.
        FT_RETURN_IF_ERROR(KillTrainer(dir));
        continue;
      }
    }
    MutexLock lock(mutex_);
    if (attempt == nullptr) {
      unstarted_.insert(key);
    } else {
      attempts_[key] = std::move(attempt);
    }
  }
  return absl::OkStatus();
}

absl::Status Agent::KillTrainer(const AttemptDir& dir) const {
  const absl::Duration until = options_.clock->SinceBoot() + kKillWait;
  for (;;) {
    FT_ASSIGN_OR_RETURN(const Observation seen, options_.engine->Observe(dir));
    if (seen.state != Observation::State::kRunning) return absl::OkStatus();
    FT_RETURN_IF_ERROR(options_.engine->Kill(dir));
    if (options_.clock->SinceBoot() >= until) {
      return absl::DeadlineExceededError("a trainer cannot be ended: " + dir.path());
    }
    MutexLock lock(mutex_);
    changed_.WaitFor(mutex_, kKillPause);
  }
}

std::shared_ptr<Attempt> Agent::OpenAttempt(const AttemptDir& dir) {
  Attempt::Options options;
  options.engine = options_.engine;
  options.store = &store_;
  options.clock = options_.clock;
  options.prepare = [this](const v1::Lease& lease, const AttemptDir& at,
                           const AttemptNotes& notes) {
    return PrepareTrainer(options_.config, store_, lease, at, notes, term_.file());
  };
  options.lease_is_held = [this] { return term_.Held(); };
  if (gpus_ != nullptr) {
    options.gpu_metrics = [this](const std::vector<int>& gpus) { return gpus_->Metrics(gpus); };
  }
  options.on_change = [this] { Changed(); };
  options.stall_time = StallTimeOf(options_.config);
  if (options_.config.log_max_bytes() > 0)
    options.log_limits.max_bytes = options_.config.log_max_bytes();
  absl::StatusOr<std::shared_ptr<Attempt>> attempt = Attempt::Open(dir, options);
  if (attempt.ok()) return *std::move(attempt);
  Log(LogLevel::kError, "cannot open an attempt",
      {{"folder", dir.path()}, {"error", attempt.status()}});
  return nullptr;
}

}  // namespace finetuned
