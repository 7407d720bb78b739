#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <filesystem>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "base/clock.h"
#include "cli/app.h"
#include "cli/errors.h"
#include "cli/io.h"

namespace {

std::optional<std::string> Environment(const std::string& name) {
  const char* value = getenv(name.c_str());
  if (value == nullptr) return std::nullopt;
  return std::string(value);
}

// Columns and lines; 0 where they are not known.
winsize TerminalSize() {
  winsize size = {};
  return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 ? size : winsize{};
}

// By the locale that a person has chosen, in the order in which the C library looks.
bool TerminalIsUtf8() {
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    const std::string value = absl::AsciiStrToLower(Environment(name).value_or(""));
    if (value.empty()) continue;
    return absl::StrContains(value, "utf-8") || absl::StrContains(value, "utf8");
  }
  return false;
}

// Before any other thread, so that none gets the signals but the one that waits for them.
sigset_t BlockInterrupts() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  return signals;
}

}  // namespace

int main(int argc, char** argv) {
  const sigset_t signals = BlockInterrupts();
  // gRPC's own log is for its developers; errors are told by the program. A person may turn it on.
  setenv("GRPC_VERBOSITY", "NONE", 0);
  std::ios::sync_with_stdio(false);

  // Never freed: the thread below may use it until the process is gone.
  static finetuned::cli::Interrupt& interrupt = *new finetuned::cli::Interrupt();
  std::thread([signals] {
    int signal = 0;
    sigwait(&signals, &signal);
    interrupt.Request();
    // A second one: at once, whatever is still being tidied.
    sigwait(&signals, &signal);
    _exit(finetuned::cli::kExitInterrupted);
  }).detach();

  std::error_code ignored;
  const bool out_is_terminal = isatty(STDOUT_FILENO) != 0;
  const winsize terminal = TerminalSize();
  finetuned::cli::Io io{std::cout,
                        std::cerr,
                        std::cin,
                        out_is_terminal,
                        isatty(STDERR_FILENO) != 0,
                        isatty(STDIN_FILENO) != 0,
                        out_is_terminal ? terminal.ws_col : 0,
                        TerminalIsUtf8(),
                        &Environment,
                        std::filesystem::current_path(ignored).string(),
                        finetuned::RealClock::Get(),
                        interrupt,
                        [](absl::Duration duration) { interrupt.Wait(duration); },
                        out_is_terminal ? terminal.ws_row : 0};
  const int exit_status =
      finetuned::cli::RunApp(std::vector<std::string>(argv + 1, argv + argc), io);
  std::cout << std::flush;
  // Data that could not be written are not there for whoever reads them.
  return exit_status == 0 && !std::cout ? finetuned::cli::kExitFailure : exit_status;
}
