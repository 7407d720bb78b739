#include "worker/process_engine.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "artifacts/artifact_store.h"
#include "base/file.h"
#include "base/logging.h"
#include "base/status.h"
#include "nlohmann/json.hpp"

namespace finetuned {
namespace {

using nlohmann::json;

constexpr int kShimAlreadyStarted = 3;
constexpr size_t kMaxProcBytes = 1 << 20;

struct ShimFile {
  pid_t pid = 0;
  uint64_t start_ticks = 0;
  std::string boot_id;
};

int64_t Int(const json& document, const char* key) {
  const auto found = document.find(key);
  return found != document.end() && found->is_number_integer() ? found->get<int64_t>() : 0;
}

bool Bool(const json& document, const char* key) {
  const auto found = document.find(key);
  return found != document.end() && found->is_boolean() && found->get<bool>();
}

double Double(const json& document, const char* key) {
  const auto found = document.find(key);
  return found != document.end() && found->is_number() ? found->get<double>() : 0;
}

absl::StatusOr<json> ReadJson(const std::string& path) {
  FT_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  json document = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!document.is_object()) return absl::DataLossError("cannot be read: " + path);
  return document;
}

absl::StatusOr<ShimFile> ReadShimFile(const AttemptDir& dir) {
  FT_ASSIGN_OR_RETURN(const json document, ReadJson(dir.File("shim.json")));
  ShimFile file;
  file.pid = static_cast<pid_t>(Int(document, "pid"));
  file.start_ticks = static_cast<uint64_t>(Int(document, "start_ticks"));
  const auto boot = document.find("boot_id");
  if (boot != document.end() && boot->is_string()) file.boot_id = boot->get<std::string>();
  return file;
}

absl::StatusOr<ExitRecord> ReadExitFile(const AttemptDir& dir) {
  FT_ASSIGN_OR_RETURN(const json document, ReadJson(dir.File("exit.json")));
  ExitRecord record;
  record.signal = static_cast<int>(Int(document, "signal"));
  if (record.signal == 0) record.exit_code = static_cast<int>(Int(document, "exit_code"));
  record.start_error = static_cast<int>(Int(document, "start_error"));
  record.signaled = Bool(document, "signaled_by_worker");
  record.deadline_passed = Bool(document, "deadline_passed");
  record.oom_kill = Int(document, "oom_kills") > 0;
  record.end_time = absl::FromUnixMicros(Int(document, "end_time_us"));
  record.cpu_seconds = Double(document, "user_seconds") + Double(document, "system_seconds");
  record.max_rss_bytes = Int(document, "max_rss_bytes");
  return record;
}

// Whether a shim holds the attempt. Asking does not take the lock, so it cannot get in a starting
// shim's way.
absl::StatusOr<bool> LockIsHeld(const AttemptDir& dir) {
  const std::string path = dir.File("shim.lock");
  const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0) {
    if (errno == ENOENT) return false;
    return ErrnoError(errno, "cannot open", path);
  }
  struct flock lock = {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  const int result = fcntl(fd, F_OFD_GETLK, &lock);
  const int error = errno;
  close(fd);
  if (result != 0) return ErrnoError(error, "cannot ask for the lock of", path);
  return lock.l_type != F_UNLCK;
}

struct ProcessStat {
  pid_t session = 0;
  uint64_t start_ticks = 0;
};

absl::StatusOr<ProcessStat> ReadProcessStat(const std::string& pid) {
  FT_ASSIGN_OR_RETURN(const std::string text, ReadFile("/proc/" + pid + "/stat", kMaxProcBytes));
  const size_t name_end = text.rfind(')');
  ProcessStat stat;
  int session = 0;
  unsigned long long ticks = 0;
  if (name_end == std::string::npos ||
      sscanf(text.c_str() + name_end + 1,
             " %*c %*d %*d %d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
             &session, &ticks) != 2) {
    return absl::NotFoundError("no such process");
  }
  stat.session = session;
  stat.start_ticks = ticks;
  return stat;
}

// Sends a signal to the very process, not to one that has its number by now.
absl::Status SignalShim(const ShimFile& shim, int signal_number) {
  const int pidfd = static_cast<int>(syscall(SYS_pidfd_open, shim.pid, 0));
  if (pidfd < 0 && errno == ESRCH) return absl::OkStatus();
  const absl::StatusOr<ProcessStat> stat = ReadProcessStat(std::to_string(shim.pid));
  absl::Status status;
  if (stat.ok() && stat->start_ticks == shim.start_ticks) {
    const long result = pidfd >= 0
                            ? syscall(SYS_pidfd_send_signal, pidfd, signal_number, nullptr, 0)
                            : kill(shim.pid, signal_number);
    if (result != 0 && errno != ESRCH) {
      status = ErrnoError(errno, "cannot signal the shim", std::to_string(shim.pid));
    }
  }
  if (pidfd >= 0) close(pidfd);
  return status;
}

// Kills what a shim that was itself killed has left: what is in its session, and what carries the
// attempt's event file in its environment. Returns how many there were.
int KillLeftovers(const AttemptDir& dir, const ShimFile& shim) {
  const absl::StatusOr<ProcessStat> leader = ReadProcessStat(std::to_string(shim.pid));
  // While our session has a member, nobody else gets its number; a leader that is alive is another
  // session's.
  const bool session_is_ours = !leader.ok();
  const std::string mark = std::string("FINETUNED_EVENTS=") + dir.File("events.jsonl");
  const absl::StatusOr<std::vector<ArtifactStore::Entry>> entries = ArtifactStore("/proc").List("");
  if (!entries.ok()) return 0;
  int count = 0;
  for (const ArtifactStore::Entry& entry : *entries) {
    if (entry.name[0] < '1' || entry.name[0] > '9') continue;
    const auto pid = static_cast<pid_t>(atoi(entry.name.c_str()));
    if (pid == getpid()) continue;
    const absl::StatusOr<ProcessStat> stat = ReadProcessStat(entry.name);
    if (!stat.ok()) continue;
    bool ours = session_is_ours && stat->session == shim.pid;
    if (!ours) {
      const absl::StatusOr<std::string> environment =
          ReadFile("/proc/" + entry.name + "/environ", kMaxProcBytes);
      ours = environment.ok() &&
             (std::string(1, '\0') + *environment).find('\0' + mark + '\0') != std::string::npos;
    }
    if (!ours) continue;
    const absl::StatusOr<std::string> state =
        ReadFile("/proc/" + entry.name + "/stat", kMaxProcBytes);
    if (state.ok() && state->find(") Z ") != std::string::npos) continue;
    ++count;
    kill(pid, SIGKILL);
  }
  return count;
}

}  // namespace

std::string BootId() {
  const absl::StatusOr<std::string> text = ReadFile("/proc/sys/kernel/random/boot_id", 128);
  return text.ok() ? text->substr(0, text->find('\n')) : "";
}

absl::Status ProcessEngine::Start(const AttemptDir& dir, const TrainerSpec& spec) const {
  char grace[32];
  snprintf(grace, sizeof grace, "%.3f", absl::ToDoubleSeconds(spec.grace));
  std::vector<std::string> argv = {shim_,      "--attempt-dir",  dir.path(), "--grace",       grace,
                                   "--stdout", spec.stdout_file, "--stderr", spec.stderr_file};
  if (!spec.cwd.empty()) argv.insert(argv.end(), {"--cwd", spec.cwd});
  if (!spec.deadline_file.empty()) {
    argv.insert(argv.end(), {"--deadline-file", spec.deadline_file});
  }
  argv.push_back("--");
  argv.insert(argv.end(), spec.argv.begin(), spec.argv.end());
  std::vector<std::string> environment = spec.environment;
  std::vector<char*> argv_pointers;
  for (std::string& argument : argv) argv_pointers.push_back(argument.data());
  argv_pointers.push_back(nullptr);
  std::vector<char*> environment_pointers;
  for (std::string& variable : environment) environment_pointers.push_back(variable.data());
  environment_pointers.push_back(nullptr);

  pid_t pid = 0;
  const int error = posix_spawn(&pid, shim_.c_str(), nullptr, nullptr, argv_pointers.data(),
                                environment_pointers.data());
  if (error != 0) return ErrnoError(error, "cannot start", shim_);
  int wait_status = 0;
  while (waitpid(pid, &wait_status, 0) < 0) {
    if (errno != EINTR) return ErrnoError(errno, "cannot wait for", shim_);
  }
  if (WIFEXITED(wait_status) &&
      (WEXITSTATUS(wait_status) == 0 || WEXITSTATUS(wait_status) == kShimAlreadyStarted)) {
    return absl::OkStatus();
  }
  return absl::InternalError(
      "finetuned-shim could not start the trainer; its message is in the log");
}

absl::StatusOr<Observation> ProcessEngine::Observe(const AttemptDir& dir) const {
  Observation observation;
  // Asked first: a shim writes exit.json before it lets go of the lock.
  FT_ASSIGN_OR_RETURN(const bool held, LockIsHeld(dir));
  if (held) {
    observation.state = Observation::State::kRunning;
    return observation;
  }
  const absl::StatusOr<ExitRecord> exit = ReadExitFile(dir);
  if (exit.ok()) {
    observation.state = Observation::State::kExited;
    observation.exit = *exit;
    return observation;
  }
  if (!absl::IsNotFound(exit.status())) return exit.status();
  const absl::StatusOr<ShimFile> shim = ReadShimFile(dir);
  if (absl::IsNotFound(shim.status())) return observation;
  if (!shim.ok()) return shim.status();
  observation.host_restarted = shim->boot_id != BootId();
  const int left = observation.host_restarted ? 0 : KillLeftovers(dir, *shim);
  observation.state = left > 0 ? Observation::State::kRunning : Observation::State::kLost;
  return observation;
}

absl::Status ProcessEngine::Stop(const AttemptDir& dir) const {
  FT_ASSIGN_OR_RETURN(const bool held, LockIsHeld(dir));
  if (!held) return absl::OkStatus();
  FT_ASSIGN_OR_RETURN(const ShimFile shim, ReadShimFile(dir));
  return SignalShim(shim, SIGTERM);
}

absl::Status ProcessEngine::Kill(const AttemptDir& dir) const {
  FT_ASSIGN_OR_RETURN(const bool held, LockIsHeld(dir));
  const absl::StatusOr<ShimFile> shim = ReadShimFile(dir);
  if (absl::IsNotFound(shim.status())) return absl::OkStatus();
  if (!shim.ok()) return shim.status();
  if (held) return SignalShim(*shim, SIGUSR1);
  if (shim->boot_id == BootId()) KillLeftovers(dir, *shim);
  return absl::OkStatus();
}

}  // namespace finetuned
