// finetuned-shim: the parent of one attempt's trainer. See worker/README.md for its files and its
// rules.
//
//   finetuned-shim --attempt-dir DIR --grace SECONDS --stdout FILE --stderr FILE [--cwd DIR]
//   [--deadline-file FILE]
//                  -- TRAINER [ARGUMENT...]
//
// It returns as soon as the trainer is started and goes on as a daemon: its parent is init, it has
// a session of its own, and it outlives the agent. It links nothing but libc, so that it costs next
// to nothing and cannot be broken by a library.
//
// Exit status of the starting process: 0 the trainer was started (or its start failed and exit.json
// says so); 3 this attempt was started before; 64 wrong usage; 1 anything else.
//
// Signals: SIGTERM asks the trainer's process group to stop and kills it after the grace; SIGUSR1
// kills it at once.

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

namespace {

constexpr int kExitAlreadyStarted = 3;
constexpr int kExitUsage = 64;
constexpr int kPollMilliseconds = 200;
constexpr int kKillPollMilliseconds = 20;
// The agent, when it lives, comes first: it tells the trainer why.
constexpr int64_t kDeadlineMarginMilliseconds = 1000;

struct Options {
  const char* attempt_dir = nullptr;
  const char* stdout_file = nullptr;
  const char* stderr_file = nullptr;
  const char* cwd = nullptr;
  const char* deadline_file = nullptr;
  int64_t grace_ms = -1;
  char** argv = nullptr;
};

struct Child {
  pid_t pid = -1;
  int start_error = 0;
  bool reaped = false;
  int wait_status = 0;
};

[[noreturn]] void Die(int code, const char* what, int error) {
  if (error != 0) {
    fprintf(stderr, "finetuned-shim: %s: %s\n", what, strerror(error));
  } else {
    fprintf(stderr, "finetuned-shim: %s\n", what);
  }
  exit(code);
}

int64_t BootMilliseconds() {
  timespec now;
  clock_gettime(CLOCK_BOOTTIME, &now);
  return static_cast<int64_t>(now.tv_sec) * 1000 + now.tv_nsec / 1000000;
}

// Reads a small file beneath `dir_fd` (or an absolute path). Returns the length, or -1.
ssize_t ReadSmall(int dir_fd, const char* path, char* buffer, size_t size) {
  const int fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  size_t used = 0;
  while (used + 1 < size) {
    const ssize_t count = read(fd, buffer + used, size - 1 - used);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) break;
    used += static_cast<size_t>(count);
  }
  close(fd);
  buffer[used] = '\0';
  return static_cast<ssize_t>(used);
}

// Parses /proc/PID/stat behind the command's name, which may hold anything: state, parent, ...,
// start time.
bool ReadStat(const char* pid, pid_t* parent, unsigned long long* start_ticks) {
  char path[64];
  char text[1024];
  snprintf(path, sizeof path, "/proc/%.20s/stat", pid);
  if (ReadSmall(AT_FDCWD, path, text, sizeof text) <= 0) return false;
  const char* rest = strrchr(text, ')');
  if (rest == nullptr) return false;
  int parent_number = 0;
  return sscanf(rest + 1,
                " %*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
                &parent_number, start_ticks) == 2 &&
         (*parent = parent_number, true);
}

// Writes a file so that readers see it whole or not at all, also after a crash of the host.
bool WriteAtomically(int dir_fd, const char* name, const char* content) {
  char temporary[64];
  snprintf(temporary, sizeof temporary, "%s.tmp", name);
  const int fd = openat(dir_fd, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) return false;
  size_t left = strlen(content);
  while (left > 0) {
    const ssize_t written = write(fd, content, left);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) {
      close(fd);
      return false;
    }
    content += written;
    left -= static_cast<size_t>(written);
  }
  const bool synced = fsync(fd) == 0;
  close(fd);
  return synced && renameat(dir_fd, temporary, dir_fd, name) == 0 && fsync(dir_fd) == 0;
}

// How often the kernel has killed in this process's memory cgroup for want of memory; -1 where it
// cannot be read.
int64_t OomKills() {
  char text[4096];
  if (ReadSmall(AT_FDCWD, "/proc/self/cgroup", text, sizeof text) <= 0) return -1;
  char* state = nullptr;
  for (char* line = strtok_r(text, "\n", &state); line != nullptr;
       line = strtok_r(nullptr, "\n", &state)) {
    const char* controllers = strchr(line, ':');
    const char* path = controllers == nullptr ? nullptr : strchr(controllers + 1, ':');
    if (path == nullptr) continue;
    const bool unified = controllers[1] == ':';
    if (!unified && strncmp(controllers + 1, "memory:", 7) != 0) continue;
    char file[PATH_MAX];
    snprintf(
        file, sizeof file,
        unified ? "/sys/fs/cgroup%s/memory.events" : "/sys/fs/cgroup/memory%s/memory.oom_control",
        path + 1);
    char content[1024];
    if (ReadSmall(AT_FDCWD, file, content, sizeof content) <= 0) continue;
    const char* found = strstr(content, "oom_kill ");
    if (found != nullptr) return strtoll(found + 9, nullptr, 10);
  }
  return -1;
}

Options Parse(int argc, char** argv) {
  Options options;
  int i = 1;
  for (; i < argc && strcmp(argv[i], "--") != 0; i += 2) {
    if (i + 1 >= argc) Die(kExitUsage, "an option without a value", 0);
    const char* name = argv[i];
    char* value = argv[i + 1];
    if (strcmp(name, "--attempt-dir") == 0) {
      options.attempt_dir = value;
    } else if (strcmp(name, "--stdout") == 0) {
      options.stdout_file = value;
    } else if (strcmp(name, "--stderr") == 0) {
      options.stderr_file = value;
    } else if (strcmp(name, "--cwd") == 0) {
      options.cwd = value;
    } else if (strcmp(name, "--deadline-file") == 0) {
      options.deadline_file = value;
    } else if (strcmp(name, "--grace") == 0) {
      char* end = nullptr;
      const double seconds = strtod(value, &end);
      if (end == value || *end != '\0' || !(seconds >= 0 && seconds <= 86400)) {
        Die(kExitUsage, "--grace must be 0 to 86400 seconds", 0);
      }
      options.grace_ms = static_cast<int64_t>(seconds * 1000);
    } else {
      Die(kExitUsage, "unknown option", 0);
    }
  }
  if (i + 1 >= argc || options.attempt_dir == nullptr || options.stdout_file == nullptr ||
      options.stderr_file == nullptr || options.grace_ms < 0) {
    Die(kExitUsage,
        "usage: finetuned-shim --attempt-dir DIR --grace SECONDS --stdout FILE --stderr FILE "
        "[--cwd DIR] [--deadline-file FILE] -- TRAINER [ARGUMENT...]",
        0);
  }
  options.argv = argv + i + 1;
  return options;
}

// The lock is of the open file, not of the process: it passes to the daemon through fork and ends
// with the last copy.
int TakeLock(int dir_fd) {
  const int fd = openat(dir_fd, "shim.lock", O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) Die(1, "cannot open shim.lock", errno);
  struct flock lock = {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  if (fcntl(fd, F_OFD_SETLK, &lock) != 0) {
    if (errno == EAGAIN || errno == EACCES) {
      Die(kExitAlreadyStarted, "another shim holds this attempt", 0);
    }
    Die(1, "cannot lock shim.lock", errno);
  }
  return fd;
}

void WriteShimFile(int dir_fd, pid_t trainer) {
  char boot_id[64] = "";
  ReadSmall(AT_FDCWD, "/proc/sys/kernel/random/boot_id", boot_id, sizeof boot_id);
  boot_id[strcspn(boot_id, "\n")] = '\0';
  pid_t parent = 0;
  unsigned long long ticks = 0;
  ReadStat("self", &parent, &ticks);
  char text[512];
  snprintf(text, sizeof text,
           "{\"pid\":%d,\"start_ticks\":%llu,\"boot_id\":\"%s\",\"trainer_pid\":%d}\n", getpid(),
           ticks, boot_id, trainer);
  if (!WriteAtomically(dir_fd, "shim.json", text)) Die(1, "cannot write shim.json", errno);
}

// Runs in the child. Everything it opens is opened before the trainer's program begins.
[[noreturn]] void ExecTrainer(const Options& options, int error_pipe, const sigset_t& old_mask,
                              pid_t shim) {
  // Should the shim be killed, the trainer must not go on unseen.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != shim) _exit(127);
  setpgid(0, 0);
  signal(SIGHUP, SIG_DFL);
  signal(SIGPIPE, SIG_DFL);
  sigprocmask(SIG_SETMASK, &old_mask, nullptr);
  const int in = open("/dev/null", O_RDONLY);
  const int out = open(options.stdout_file, O_WRONLY | O_CREAT | O_APPEND, 0644);
  const int err = open(options.stderr_file, O_WRONLY | O_CREAT | O_APPEND, 0644);
  if (in >= 0 && out >= 0 && err >= 0 && dup2(in, 0) >= 0 && dup2(out, 1) >= 0 &&
      dup2(err, 2) >= 0 && (options.cwd == nullptr || chdir(options.cwd) == 0)) {
    if (in > 2) close(in);
    if (out > 2) close(out);
    if (err > 2) close(err);
    execvp(options.argv[0], options.argv);
  }
  const int error = errno;
  ssize_t ignored = write(error_pipe, &error, sizeof error);
  (void)ignored;
  _exit(127);
}

Child StartTrainer(const Options& options, const sigset_t& old_mask) {
  Child child;
  int error_pipe[2];
  if (pipe2(error_pipe, O_CLOEXEC) != 0) {
    child.start_error = errno;
    return child;
  }
  const pid_t shim = getpid();
  child.pid = fork();
  if (child.pid == 0) {
    close(error_pipe[0]);
    ExecTrainer(options, error_pipe[1], old_mask, shim);
  }
  if (child.pid < 0) child.start_error = errno;
  close(error_pipe[1]);
  if (child.pid > 0) {
    setpgid(child.pid, child.pid);
    int error = 0;
    ssize_t count;
    do {
      count = read(error_pipe[0], &error, sizeof error);
    } while (count < 0 && errno == EINTR);
    if (count == static_cast<ssize_t>(sizeof error)) child.start_error = error;
  }
  close(error_pipe[0]);
  return child;
}

void Reap(Child& trainer) {
  while (true) {
    int status = 0;
    const pid_t pid = waitpid(-1, &status, WNOHANG);
    if (pid <= 0) return;
    if (pid == trainer.pid) {
      trainer.reaped = true;
      trainer.wait_status = status;
    }
  }
}

// Sends SIGKILL to each child of this process. As subreaper it becomes the parent of every orphan
// beneath it, so repeating this until there is none reaches all.
void KillChildren() {
  DIR* proc = opendir("/proc");
  if (proc == nullptr) return;
  const pid_t self = getpid();
  while (const dirent* entry = readdir(proc)) {
    if (entry->d_name[0] < '1' || entry->d_name[0] > '9') continue;
    pid_t parent = 0;
    unsigned long long ticks = 0;
    if (ReadStat(entry->d_name, &parent, &ticks) && parent == self) {
      kill(static_cast<pid_t>(atoi(entry->d_name)), SIGKILL);
    }
  }
  closedir(proc);
}

bool DeadlinePassed(const Options& options) {
  if (options.deadline_file == nullptr) return false;
  char text[64];
  if (ReadSmall(AT_FDCWD, options.deadline_file, text, sizeof text) <= 0) return false;
  char* end = nullptr;
  const long long deadline = strtoll(text, &end, 10);
  return end != text && deadline > 0 && BootMilliseconds() > deadline + kDeadlineMarginMilliseconds;
}

struct Ending {
  bool signaled = false;
  bool deadline_passed = false;
};

// Waits until the trainer is gone, carrying out stops meanwhile.
Ending Watch(const Options& options, Child& trainer, const sigset_t& mask) {
  Ending ending;
  int64_t kill_at = -1;
  while (!trainer.reaped) {
    timespec wait = {0, kPollMilliseconds * 1000000L};
    const int got = sigtimedwait(&mask, nullptr, &wait);
    Reap(trainer);
    if (trainer.reaped) break;
    const int64_t now = BootMilliseconds();
    bool stop = got == SIGTERM;
    if (kill_at < 0 && !stop && DeadlinePassed(options)) {
      stop = true;
      ending.deadline_passed = true;
    }
    if (stop && kill_at < 0) {
      ending.signaled = true;
      kill_at = now + options.grace_ms;
      kill(-trainer.pid, SIGTERM);
    }
    if (got == SIGUSR1 || (kill_at >= 0 && now >= kill_at)) {
      ending.signaled = true;
      kill_at = now;
      kill(-trainer.pid, SIGKILL);
      kill(trainer.pid, SIGKILL);
    }
  }
  return ending;
}

void KillDescendants(Child& trainer, const sigset_t& mask) {
  while (true) {
    KillChildren();
    Reap(trainer);
    int status = 0;
    if (waitpid(-1, &status, WNOHANG) < 0 && errno == ECHILD) return;
    timespec wait = {0, kKillPollMilliseconds * 1000000L};
    sigtimedwait(&mask, nullptr, &wait);
  }
}

void WriteExitFile(int dir_fd, const Child& trainer, const Ending& ending, int64_t oom_before) {
  int exit_code = -1;
  int signal_number = 0;
  if (trainer.start_error != 0) {
    exit_code = 127;
  } else if (WIFEXITED(trainer.wait_status)) {
    exit_code = WEXITSTATUS(trainer.wait_status);
  } else {
    signal_number = WTERMSIG(trainer.wait_status);
  }
  rusage usage;
  getrusage(RUSAGE_CHILDREN, &usage);
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  const int64_t oom_after = OomKills();
  const int64_t oom = oom_before >= 0 && oom_after >= 0 ? oom_after - oom_before : -1;
  char text[1024];
  snprintf(
      text, sizeof text,
      "{\"exit_code\":%d,\"signal\":%d,\"start_error\":%d,\"signaled_by_worker\":%s,"
      "\"deadline_passed\":%s,\"oom_kills\":%lld,\"user_seconds\":%.3f,\"system_seconds\":%.3f,"
      "\"max_rss_bytes\":%lld,\"end_time_us\":%lld}\n",
      exit_code, signal_number, trainer.start_error, ending.signaled ? "true" : "false",
      ending.deadline_passed ? "true" : "false", static_cast<long long>(oom),
      static_cast<double>(usage.ru_utime.tv_sec) +
          static_cast<double>(usage.ru_utime.tv_usec) / 1e6,
      static_cast<double>(usage.ru_stime.tv_sec) +
          static_cast<double>(usage.ru_stime.tv_usec) / 1e6,
      static_cast<long long>(usage.ru_maxrss) * 1024,
      static_cast<long long>(now.tv_sec) * 1000000 + now.tv_nsec / 1000);
  // A full disk may pass; without this file the attempt counts as lost, so it is worth waiting for.
  for (int i = 0; i < 600 && !WriteAtomically(dir_fd, "exit.json", text); ++i) {
    timespec wait = {0, 500 * 1000000L};
    nanosleep(&wait, nullptr);
  }
}

void CloseInherited() {
  // close_range(3, ...) by its number: this libc's header may not have it.
  if (syscall(SYS_close_range, 3u, ~0u, 0u) == 0) return;
  for (int fd = 3; fd < 65536; ++fd) close(fd);
}

}  // namespace

int main(int argc, char** argv) {
  const Options options = Parse(argc, argv);
  CloseInherited();
  const int dir_fd = open(options.attempt_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (dir_fd < 0) Die(1, "cannot open the attempt's folder", errno);
  const int lock_fd = TakeLock(dir_fd);
  struct stat info;
  if (fstatat(dir_fd, "shim.json", &info, 0) == 0 || fstatat(dir_fd, "exit.json", &info, 0) == 0) {
    Die(kExitAlreadyStarted, "this attempt was started before", 0);
  }
  // An agent that removes the folder takes the lock, then renames it: whoever has the lock and
  // still finds the folder by its name comes before that.
  struct stat named;
  if (fstat(dir_fd, &info) != 0 || stat(options.attempt_dir, &named) != 0 ||
      info.st_ino != named.st_ino || info.st_dev != named.st_dev) {
    Die(kExitAlreadyStarted, "the attempt's folder is being removed", 0);
  }
  int ready[2];
  if (pipe2(ready, O_CLOEXEC) != 0) Die(1, "cannot make a pipe", errno);
  const pid_t daemon_pid = fork();
  if (daemon_pid < 0) Die(1, "cannot fork", errno);
  if (daemon_pid > 0) {
    close(ready[1]);
    char code = 1;
    ssize_t count;
    do {
      count = read(ready[0], &code, 1);
    } while (count < 0 && errno == EINTR);
    _exit(count == 1 ? code : 1);
  }

  close(ready[0]);
  setsid();
  signal(SIGHUP, SIG_IGN);
  signal(SIGPIPE, SIG_IGN);
  signal(SIGINT, SIG_IGN);
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  sigset_t mask;
  sigset_t old_mask;
  sigemptyset(&mask);
  sigaddset(&mask, SIGTERM);
  sigaddset(&mask, SIGUSR1);
  sigaddset(&mask, SIGCHLD);
  sigprocmask(SIG_BLOCK, &mask, &old_mask);
  // The trainer starts with nothing blocked, whatever the agent's thread had blocked.
  sigemptyset(&old_mask);

  // Before the trainer: once it may run, it is on record that this attempt was started.
  WriteShimFile(dir_fd, 0);
  const int64_t oom_before = OomKills();
  Child trainer = StartTrainer(options, old_mask);
  if (trainer.pid > 0) WriteShimFile(dir_fd, trainer.pid);
  const char started = 0;
  ssize_t ignored = write(ready[1], &started, 1);
  (void)ignored;
  close(ready[1]);
  // Nothing of the agent's is kept open: it may wait for the end of these files.
  const int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
  for (int fd = 0; fd < 3 && null_fd >= 0; ++fd) dup2(null_fd, fd);
  const int root_status = chdir("/");
  (void)root_status;

  Ending ending;
  if (trainer.pid > 0) ending = Watch(options, trainer, mask);
  KillDescendants(trainer, mask);
  WriteExitFile(dir_fd, trainer, ending, oom_before);
  close(lock_fd);
  return 0;
}
