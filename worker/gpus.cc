#include "worker/gpus.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "artifacts/beneath.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/logging.h"
#include "base/status.h"

extern char** environ;

namespace finetuned {
namespace {

constexpr size_t kMaxOutputBytes = 64 << 10;
constexpr int64_t kMiB = 1 << 20;

// How long a killed program may take to end. One that waits for a broken device does not end at
// all.
constexpr absl::Duration kKillGrace = absl::Seconds(1);
constexpr absl::Duration kReapInterval = absl::Milliseconds(5);

// Whether the child has ended by then, and how.
bool EndsBy(pid_t pid, absl::Duration end, int& status) {
  const Clock& clock = RealClock::Get();
  for (;;) {
    if (waitpid(pid, &status, WNOHANG) != 0) return true;
    if (clock.SinceBoot() >= end) return false;
    absl::SleepFor(kReapInterval);
  }
}

// The child that outlived its kill, of which there is one at most: no other is started beside it.
class StuckChild {
 public:
  static StuckChild& Get() {
    static StuckChild* child = new StuckChild;
    return *child;
  }
  void Set(pid_t pid) ABSL_LOCKS_EXCLUDED(mutex_) {
    MutexLock lock(mutex_);
    pid_ = pid;
  }
  bool Lives() ABSL_LOCKS_EXCLUDED(mutex_) {
    MutexLock lock(mutex_);
    int status = 0;
    if (pid_ != 0 && waitpid(pid_, &status, WNOHANG) != 0) pid_ = 0;
    return pid_ != 0;
  }

 private:
  Mutex mutex_;
  pid_t pid_ ABSL_GUARDED_BY(mutex_) = 0;
};

// What a program writes to its standard output, and how it ends.
absl::StatusOr<std::string> RunProgram(const std::string& program,
                                       const std::vector<std::string>& arguments,
                                       absl::Duration limit) {
  if (StuckChild::Get().Lives()) {
    return absl::UnavailableError(program + " hangs since an earlier call and cannot be killed");
  }
  int pipe_fds[2];
  if (pipe2(pipe_fds, O_CLOEXEC) != 0) return ErrnoError(errno, "cannot start", program);
  const OwnedFd read_end(pipe_fds[0]);
  OwnedFd write_end(pipe_fds[1]);
  std::vector<char*> argv = {const_cast<char*>(program.c_str())};
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, write_end.get(), 1);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
  pid_t pid = 0;
  const int error = posix_spawnp(&pid, program.c_str(), &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error == ENOENT) return absl::NotFoundError("there is no program " + program);
  if (error != 0) return ErrnoError(error, "cannot start", program);
  write_end.Reset();

  const Clock& clock = RealClock::Get();
  const absl::Duration end = clock.SinceBoot() + limit;
  std::string output;
  bool late = false;
  for (;;) {
    const absl::Duration left = end - clock.SinceBoot();
    pollfd waiting = {read_end.get(), POLLIN, 0};
    late = left <= absl::ZeroDuration() ||
           poll(&waiting, 1, static_cast<int>(absl::ToInt64Milliseconds(left)) + 1) == 0;
    if (late) break;
    char buffer[4096];
    const ssize_t count = read(read_end.get(), buffer, sizeof buffer);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0 || output.size() > kMaxOutputBytes) break;
    output.append(buffer, static_cast<size_t>(count));
  }
  int status = 0;
  late = late || output.size() > kMaxOutputBytes || !EndsBy(pid, end, status);
  if (late) {
    kill(pid, SIGKILL);
    if (!EndsBy(pid, clock.SinceBoot() + kKillGrace, status)) StuckChild::Get().Set(pid);
    return absl::DeadlineExceededError(program + " gives no answer");
  }
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    return absl::UnavailableError(absl::StrCat(program, " fails: ", output.substr(0, 200)));
  }
  return output;
}

}  // namespace

absl::StatusOr<std::vector<Gpu>> ParseGpus(const std::string& text) {
  std::vector<Gpu> gpus;
  for (const absl::string_view line : absl::StrSplit(text, '\n', absl::SkipWhitespace())) {
    std::vector<std::string> parts = absl::StrSplit(line, ',');
    for (std::string& part : parts) part = std::string(absl::StripAsciiWhitespace(part));
    Gpu gpu;
    int64_t total = 0, used = 0;
    if (parts.size() != 5 || !absl::SimpleAtoi(parts[0], &gpu.index) ||
        !absl::SimpleAtoi(parts[2], &total)) {
      return absl::InvalidArgumentError(
          absl::StrCat("cannot read the line `", line.substr(0, 200), "`"));
    }
    gpu.name = parts[1];
    gpu.memory_bytes = total * kMiB;
    // `[N/A]` where the driver does not tell.
    if (absl::SimpleAtoi(parts[3], &used)) gpu.used_bytes = used * kMiB;
    if (!absl::SimpleAtoi(parts[4], &gpu.utilization_percent)) gpu.utilization_percent = -1;
    gpus.push_back(std::move(gpu));
  }
  return gpus;
}

absl::StatusOr<std::vector<Gpu>> QueryGpus(const std::string& program, absl::Duration limit) {
  FT_ASSIGN_OR_RETURN(const std::string output,
                      RunProgram(program,
                                 {"--query-gpu=index,name,memory.total,memory.used,utilization.gpu",
                                  "--format=csv,noheader,nounits"},
                                 limit));
  return ParseGpus(output);
}

std::string GpuType(const std::string& name) {
  const auto is_model = [](const std::string& word) {
    return std::any_of(word.begin(), word.end(), absl::ascii_isdigit) &&
           std::any_of(word.begin(), word.end(), absl::ascii_isalpha);
  };
  // The first word with letters and digits is the model, wherever the maker stands.
  for (const absl::string_view part :
       absl::StrSplit(name, absl::ByAnyChar(" -"), absl::SkipEmpty())) {
    std::string word = absl::AsciiStrToLower(part);
    if (is_model(word) && std::all_of(word.begin(), word.end(), absl::ascii_isalnum)) return word;
  }
  std::string all = absl::AsciiStrToLower(name).substr(0, 63);
  for (char& c : all) {
    if (!absl::ascii_isalnum(static_cast<unsigned char>(c))) c = '-';
  }
  return all;
}

void GpuMonitor::Start() {
  thread_ = std::thread([this] { Loop(); });
}

void GpuMonitor::Stop() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    changed_.NotifyAll();
  }
  if (thread_.joinable()) thread_.join();
}

void GpuMonitor::Loop() {
  bool failed = false;
  for (;;) {
    auto gpus = QueryGpus(program_);
    if (!gpus.ok() && !failed) {
      Log(LogLevel::kWarning, "cannot tell how GPUs are used", {{"error", gpus.status()}});
    }
    failed = !gpus.ok();
    MutexLock lock(mutex_);
    gpus_ = gpus.ok() ? *std::move(gpus) : std::vector<Gpu>();
    if (!stopping_) changed_.WaitFor(mutex_, kInterval);
    if (stopping_) return;
  }
}

std::map<std::string, double> GpuMonitor::Metrics(const std::vector<int>& gpus) const {
  double bytes = 0, utilization = 0;
  int known = 0, told = 0;
  MutexLock lock(mutex_);
  for (const Gpu& gpu : gpus_) {
    if (std::count(gpus.begin(), gpus.end(), gpu.index) == 0) continue;
    ++known;
    bytes += static_cast<double>(gpu.used_bytes);
    if (gpu.utilization_percent < 0) continue;
    ++told;
    utilization += gpu.utilization_percent / 100.0;
  }
  std::map<std::string, double> metrics;
  if (known > 0) metrics["gpu_memory_bytes"] = bytes;
  if (told > 0) metrics["gpu_utilization"] = utilization / told;
  return metrics;
}

}  // namespace finetuned
