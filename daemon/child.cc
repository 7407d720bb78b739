#include "daemon/child.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status.h"

namespace finetuned {
namespace {

constexpr size_t kTailBytes = 2000;

// In the child, between fork and exec: only what is safe there. Errors go to the parent as errno.
[[noreturn]] void ExecChild(const ChildSpec& spec, char* const* argv, int log_fd, int error_fd) {
  const pid_t parent = getppid();
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  setpgid(0,
          0);  // A Ctrl-C at the terminal is for the supervisor, which stops its children in order.
  if (log_fd >= 0) {
    dup2(log_fd, 1);
    dup2(log_fd, 2);
  }
  bool good = true;
  if (spec.gid.has_value()) good = setgroups(0, nullptr) == 0 && setgid(*spec.gid) == 0;
  if (good && spec.uid.has_value()) good = setuid(*spec.uid) == 0;
  if (good && spec.death_signal != 0) {
    good = prctl(PR_SET_PDEATHSIG, spec.death_signal) == 0;
    if (getppid() != parent) _exit(1);  // The supervisor died before the signal was set.
  }
  if (good) execvp(argv[0], argv);
  const int error = errno;
  const ssize_t written = write(error_fd, &error, sizeof(error));
  _exit(written == sizeof(error) ? 127 : 126);
}

std::string Tail(const std::string& path) {
  const auto text = ReadFile(path);
  if (!text.ok()) return "";
  return text->size() <= kTailBytes ? *text : text->substr(text->size() - kTailBytes);
}

}  // namespace

absl::StatusOr<pid_t> StartChild(const ChildSpec& spec) {
  std::vector<char*> argv;
  for (const std::string& arg : spec.argv) argv.push_back(const_cast<char*>(arg.c_str()));
  argv.push_back(nullptr);
  int log_fd = -1;
  if (!spec.log_file.empty()) {
    log_fd = open(spec.log_file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    if (log_fd < 0) return ErrnoError(errno, "cannot open", spec.log_file);
  }
  int pipe_fds[2];
  if (pipe2(pipe_fds, O_CLOEXEC) != 0)
    return ErrnoError(errno, "cannot make a pipe for", spec.argv[0]);
  const pid_t pid = fork();
  if (pid == 0) ExecChild(spec, argv.data(), log_fd, pipe_fds[1]);
  const int fork_error = errno;
  close(pipe_fds[1]);
  if (log_fd >= 0) close(log_fd);
  int error = 0;
  const ssize_t got = pid < 0 ? 0 : read(pipe_fds[0], &error, sizeof(error));
  close(pipe_fds[0]);
  if (pid < 0) return ErrnoError(fork_error, "cannot fork", spec.argv[0]);
  if (got == sizeof(error)) {
    waitpid(pid, nullptr, 0);
    return ErrnoError(error, "cannot start", spec.argv[0]);
  }
  return pid;
}

absl::Status RunChild(const ChildSpec& spec) {
  FT_ASSIGN_OR_RETURN(const pid_t pid, StartChild(spec));
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat(spec.argv[0], " failed",
                   spec.log_file.empty()
                       ? ""
                       : absl::StrCat("; the end of ", spec.log_file, ":\n", Tail(spec.log_file))));
}

std::string ProgramFolder() {
  std::error_code error;
  return std::filesystem::read_symlink("/proc/self/exe", error).parent_path().string();
}

}  // namespace finetuned
