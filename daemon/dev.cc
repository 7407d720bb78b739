#include "daemon/dev.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/logging.h"
#include "base/status.h"
#include "daemon/embedded_postgres.h"
#include "daemon/supervisor.h"
#include "daemon/version.h"
#include "db/identity.h"
#include "db/migrator.h"
#include "db/reads.h"

namespace finetuned {
namespace {

constexpr int kPostgresSeconds = 60;
constexpr absl::Duration kComeUpTime = absl::Seconds(60);
constexpr absl::Duration kWorkerTime = absl::Seconds(15);

std::string DefaultDataDir() {
  if (geteuid() == 0) return "/var/lib/finetuned/dev";
  const char* data_home = getenv("XDG_DATA_HOME");
  if (data_home != nullptr && data_home[0] == '/') return absl::StrCat(data_home, "/finetuned/dev");
  const char* home = getenv("HOME");
  return absl::StrCat(home == nullptr ? "/tmp" : home, "/.local/share/finetuned/dev");
}

// Looks upwards from the program for the folder that holds trainer/.
absl::StatusOr<std::string> FindTrainerDir() {
  std::string folder = ProgramFolder();
  while (folder.size() > 1) {
    if (FileExists(folder + "/trainer/__main__.py")) return folder;
    if (FileExists(folder + "/share/finetuned/trainer/__main__.py"))
      return folder + "/share/finetuned";
    folder = folder.substr(0, std::max<size_t>(folder.rfind('/'), 1));
  }
  return MakeError(absl::StatusCode::kNotFound, "TRAINER_MISSING",
                   "no trainer/ was found beside the program: give --trainer-dir");
}

// One dev per data folder. The lock ends with the process.
absl::Status LockDataDir(const std::string& data_dir) {
  const std::string path = data_dir + "/dev.lock";
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return ErrnoError(errno, "cannot open", path);
  if (flock(fd, LOCK_EX | LOCK_NB) == 0) return absl::OkStatus();
  close(fd);
  return MakeError(absl::StatusCode::kFailedPrecondition, "ALREADY_RUNNING",
                   absl::StrCat("another `finetuned dev` runs on ", data_dir,
                                ": use it, stop it, or give --data-dir"));
}

struct Layout {
  std::string data_dir, artifacts, work, logs, tokens;
  std::string serve_config, worker_config, serve_ready;
};

absl::StatusOr<Layout> MakeLayout(const DevOptions& options) {
  Layout layout;
  layout.data_dir = options.data_dir.empty() ? DefaultDataDir() : options.data_dir;
  if (layout.data_dir[0] != '/') {
    return MakeError(absl::StatusCode::kInvalidArgument, "BAD_FLAG",
                     "--data-dir: must be an absolute path");
  }
  layout.artifacts = layout.data_dir + "/artifacts";
  layout.work = layout.data_dir + "/worker";
  layout.logs = layout.data_dir + "/logs";
  layout.tokens = layout.data_dir + "/tokens";
  layout.serve_config = layout.data_dir + "/serve.yaml";
  layout.worker_config = layout.data_dir + "/worker.yaml";
  layout.serve_ready = layout.data_dir + "/serve.ready.json";
  for (const std::string& folder : {layout.artifacts, layout.work, layout.logs}) {
    FT_RETURN_IF_ERROR(MakeDirectories(folder));
  }
  FT_RETURN_IF_ERROR(MakeDirectories(layout.tokens, 0700));
  return layout;
}

std::string Quoted(const std::string& text) {
  std::string quoted = "'";
  for (const char c : text) quoted += c == '\'' ? "''" : std::string(1, c);
  return quoted + "'";
}

std::string YamlList(const std::string& field, const std::vector<std::string>& items) {
  std::string yaml = field + ":\n";
  for (const std::string& item : items) absl::StrAppend(&yaml, "  - ", Quoted(item), "\n");
  return yaml;
}

absl::Status WriteConfigs(const DevOptions& options, const Layout& layout, const std::string& url,
                          const std::string& trainer_dir) {
  const auto address = [&](int offset) {
    return absl::StrCat("127.0.0.1:", options.port + offset);
  };
  const std::string models = trainer_dir + "/trainer/models";
  const std::vector<std::string> data_roots =
      options.data_roots.empty() ? std::vector<std::string>{"/"} : options.data_roots;
  const std::string python = options.trainer_python.empty()
                                 ? trainer_dir + "/build/venv/bin/python3"
                                 : options.trainer_python;
  if (!FileExists(python)) {
    return MakeError(absl::StatusCode::kNotFound, "TRAINER_PYTHON_MISSING",
                     absl::StrCat("the trainer's Python ", python,
                                  " does not exist: run `make deps`, or give --trainer-python"));
  }
  const std::string header = "# Written by `finetuned dev` at every start.\n";
  FT_RETURN_IF_ERROR(WriteFileAtomically(
      layout.serve_config,
      absl::StrCat(header, "listen: ", address(0), "\nworker_listen: ", address(1),
                   "\nmetrics_listen: ", address(2), "\ndatabase_url: ", Quoted(url),
                   "\nartifact_root: ", Quoted(layout.artifacts), "\n",
                   YamlList("data_roots", data_roots), YamlList("model_roots", {models}),
                   "reflection: true\nready_file: ", Quoted(layout.serve_ready), "\n"),
      0600));
  return WriteFileAtomically(
      layout.worker_config,
      absl::StrCat(header, "daemon: ", address(1),
                   "\ntoken_file: ", Quoted(layout.tokens + "/worker"),
                   "\nname: dev\nartifact_root: ", Quoted(layout.artifacts),
                   "\nwork_dir: ", Quoted(layout.work), "\n", YamlList("model_roots", {models}),
                   YamlList("trainer_command", {python, "-m", "trainer"}),
                   "trainer_dir: ", Quoted(trainer_dir), "\nstop_trainers_on_exit: true\n"),
      0600);
}

// Tokens are made once and kept in files that only this user reads.
absl::Status EnsureToken(IdentityStore* identity, const std::string& path, const std::string& email,
                         const std::string& role) {
  if (FileExists(path)) {
    FT_ASSIGN_OR_RETURN(const std::string token, ReadFile(path));
    FT_ASSIGN_OR_RETURN(const auto known, identity->FindToken(token));
    if (known.has_value()) return absl::OkStatus();
  }
  FT_ASSIGN_OR_RETURN(const std::string token,
                      identity->CreateToken("default", email, role, absl::ZeroDuration()));
  return WriteFileAtomically(path, token, 0600);
}

std::string UserEmail() {
  const char* user = getenv("USER");
  return absl::StrCat(user == nullptr || user[0] == '\0' ? "dev" : user, "@localhost");
}

// The agent has a flag for each field, where the daemon has --set.
std::vector<std::string> WithFlags(std::vector<std::string> argv,
                                   const std::vector<std::string>& settings) {
  for (const std::string& setting : settings) argv.push_back("--" + setting);
  return argv;
}

std::vector<std::string> WithSettings(std::vector<std::string> argv,
                                      const std::vector<std::string>& settings) {
  for (const std::string& setting : settings) {
    argv.push_back("--set");
    argv.push_back(setting);
  }
  return argv;
}

absl::Status AddServices(const DevOptions& options, const Layout& layout, Supervisor* supervisor) {
  const std::string bin = ProgramFolder();
  Supervisor::Service serve;
  serve.name = "finetuned serve";
  serve.spec.argv = WithSettings({bin + "/finetuned", "serve", "--config", layout.serve_config},
                                 options.serve_settings);
  serve.spec.log_file = layout.logs + "/serve.log";
  serve.spec.death_signal = SIGTERM;
  FT_RETURN_IF_ERROR(supervisor->Add(std::move(serve)));
  Supervisor::Service worker;
  worker.name = "finetuned worker";
  worker.spec.argv = WithFlags({bin + "/finetuned-worker", "--config", layout.worker_config},
                               options.worker_settings);
  worker.spec.log_file = layout.logs + "/worker.log";
  worker.spec.death_signal = SIGTERM;
  // The grace of its trainers and some time to report.
  worker.stop_timeout = absl::Seconds(150);
  return supervisor->Add(std::move(worker));
}

absl::Status AddCliContext(const DevOptions& options, const Layout& layout) {
  ChildSpec cli;
  cli.argv = {ProgramFolder() + "/finetune",
              "--server",
              absl::StrCat("127.0.0.1:", options.port),
              "--token-file",
              layout.tokens + "/user",
              "context",
              "set",
              "dev"};
  cli.log_file = layout.logs + "/context.log";
  return RunChild(cli);
}

// Waits for the worker's session, so that the first run does not find nobody there. False when it
// does not come in time: everything else is there all the same.
absl::StatusOr<bool> WaitForWorker(const std::string& url, absl::Duration started,
                                   Supervisor* supervisor) {
  Pool pool({url});
  Reader reader(&pool);
  const Clock& clock = RealClock::Get();
  const absl::Duration give_up = clock.SinceBoot() + kWorkerTime;
  while (!supervisor->told_to_stop() && clock.SinceBoot() < give_up) {
    // The row of a session before this start stays, and was seen before it.
    const absl::Duration age = clock.SinceBoot() - started;
    if (const auto workers = reader.ListWorkers(); workers.ok()) {
      for (const StoredWorker& worker : *workers) {
        if (worker.has_session && worker.seen_ago < age) return true;
      }
    }
    FT_RETURN_IF_ERROR(supervisor->RunFor(absl::Milliseconds(50)));
  }
  return false;
}

absl::Status Serve(const DevOptions& options, const Layout& layout, const std::string& trainer_dir,
                   Supervisor* supervisor) {
  FT_ASSIGN_OR_RETURN(const EmbeddedPostgres postgres,
                      EmbeddedPostgres::Prepare(layout.data_dir + "/postgres"));
  Supervisor::Service service;
  service.name = "postgres";
  service.spec = postgres.ServerSpec();
  service.stop_signal = SIGINT;
  FT_RETURN_IF_ERROR(supervisor->Add(std::move(service)));
  FT_RETURN_IF_ERROR(postgres.WaitUntilReady(kPostgresSeconds));
  FT_RETURN_IF_ERROR(postgres.PrepareDatabase());
  FT_RETURN_IF_ERROR(Migrate(postgres.AdminUrl()).status());
  {
    Pool pool({postgres.DaemonUrl()});
    IdentityStore identity(&pool);
    FT_RETURN_IF_ERROR(EnsureToken(&identity, layout.tokens + "/user", UserEmail(), "user"));
    FT_RETURN_IF_ERROR(
        EnsureToken(&identity, layout.tokens + "/worker", "worker@localhost", "worker"));
  }
  FT_RETURN_IF_ERROR(WriteConfigs(options, layout, postgres.DaemonUrl(), trainer_dir));
  unlink(layout.serve_ready.c_str());
  const absl::Duration started = RealClock::Get().SinceBoot();
  FT_RETURN_IF_ERROR(AddServices(options, layout, supervisor));
  const absl::Duration give_up = RealClock::Get().SinceBoot() + kComeUpTime;
  while (!FileExists(layout.serve_ready) && !supervisor->told_to_stop()) {
    FT_RETURN_IF_ERROR(supervisor->RunFor(absl::Milliseconds(50)));
    if (RealClock::Get().SinceBoot() > give_up) {
      return absl::FailedPreconditionError("finetuned serve did not come up; see " + layout.logs +
                                           "/serve.log");
    }
  }
  FT_ASSIGN_OR_RETURN(const bool joined, WaitForWorker(postgres.DaemonUrl(), started, supervisor));
  if (supervisor->told_to_stop()) return absl::OkStatus();
  FT_RETURN_IF_ERROR(AddCliContext(options, layout));
  FT_RETURN_IF_ERROR(
      WriteFileAtomically(layout.data_dir + "/dev.ready", absl::StrCat(getpid(), "\n")));
  printf(
      "finetuned dev %s is ready.\n"
      "  users    127.0.0.1:%d   (the CLI's context `dev`: %s/finetune run list)\n"
      "  metrics  http://127.0.0.1:%d/metrics\n"
      "  data     %s\n"
      "%s"
      "Stop it with Ctrl-C.\n",
      kVersion, options.port, ProgramFolder().c_str(), options.port + 2, layout.data_dir.c_str(),
      joined ? ""
             : absl::StrCat("  The worker has not joined yet: see ", layout.logs, "/worker.log\n")
                   .c_str());
  fflush(stdout);
  return supervisor->RunFor(absl::ZeroDuration());
}

}  // namespace

absl::Status RunDev(const DevOptions& options) {
  std::string trainer_dir = options.trainer_dir;
  if (trainer_dir.empty()) {
    FT_ASSIGN_OR_RETURN(trainer_dir, FindTrainerDir());
  }
  FT_ASSIGN_OR_RETURN(const Layout layout, MakeLayout(options));
  FT_RETURN_IF_ERROR(LockDataDir(layout.data_dir));
  unlink((layout.data_dir + "/dev.ready").c_str());
  Supervisor supervisor;
  const absl::Status status = Serve(options, layout, trainer_dir, &supervisor);
  unlink((layout.data_dir + "/dev.ready").c_str());
  supervisor.StopAll();
  return status;
}

}  // namespace finetuned
