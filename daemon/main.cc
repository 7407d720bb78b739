// `finetuned`: the daemon and what belongs to it. Each command is a few lines here and a file of
// its own elsewhere.

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <thread>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/config.h"
#include "base/grpc_locks.h"
#include "base/grpc_log.h"
#include "base/logging.h"
#include "base/mutex.h"
#include "base/status.h"
#include "base/time.h"
#include "daemon/child.h"
#include "daemon/daemon_config.h"
#include "daemon/dev.h"
#include "daemon/server.h"
#include "daemon/version.h"
#include "db/identity.h"
#include "db/migrator.h"

namespace finetuned {
namespace {

// sysexits.h: the configuration is wrong, so starting again would not help; the schema is newer
// than this program.
constexpr int kExitUsage = 64;
constexpr int kExitUnavailable = 69;
constexpr int kExitConfig = 78;

int ExitCodeOf(const absl::Status& status) {
  if (status.ok()) return 0;
  if (status.code() == absl::StatusCode::kUnavailable) return kExitUnavailable;
  return kExitConfig;
}

int Report(const absl::Status& status) {
  if (!status.ok()) fprintf(stderr, "finetuned: %s\n", std::string(status.message()).c_str());
  return ExitCodeOf(status);
}

struct ConfigFlags {
  std::string file;
  std::vector<std::string> settings;
};

absl::StatusOr<config::v1::DaemonConfig> ReadConfig(const ConfigFlags& flags) {
  ConfigSources sources;
  sources.file = flags.file;
  sources.environment_prefix = "FINETUNED_";
  sources.environment = ProcessEnvironment();
  for (const std::string& setting : flags.settings) {
    const size_t equals = setting.find('=');
    if (equals == std::string::npos) {
      return MakeError(absl::StatusCode::kInvalidArgument, "BAD_FLAG",
                       "--set: \"" + setting + "\" is not field=value");
    }
    sources.overrides.emplace_back(setting.substr(0, equals), setting.substr(equals + 1));
  }
  config::v1::DaemonConfig config;
  FT_RETURN_IF_ERROR(LoadConfig(sources, &config));
  return config;
}

// Of a command that needs a database and nothing else.
absl::StatusOr<config::v1::DaemonConfig> ReadDatabaseConfig(const ConfigFlags& flags) {
  FT_ASSIGN_OR_RETURN(config::v1::DaemonConfig config, ReadConfig(flags));
  if (config.database_url().empty()) {
    return MakeError(absl::StatusCode::kInvalidArgument, "BAD_CONFIG",
                     "database_url: is required: --set database_url=\"host=... dbname=...\"; "
                     "`migrate` needs the role that owns the schema");
  }
  return config;
}

// As many files as the system lets this process have: each connection is one.
void RaiseFileLimit() {
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

std::atomic<bool> deaf{false};

// A daemon that accepts no connection any more makes way for the next.
void EndDeafDaemon() {
  deaf = true;
  kill(getpid(), SIGTERM);
}

// How long the daemon, told to stop, waits for Postgres when `shutdown_grace_duration` is over.
constexpr absl::Duration kStopMargin = absl::Seconds(5);

// Ends the process if it does not stop in time: a call that waits for a silent Postgres cannot be
// taken back. Nothing is lost by it: what was committed is there, and who got no answer asks again.
class StopLimit {
 public:
  explicit StopLimit(absl::Duration limit) : thread_([this, limit] { Watch(limit); }) {}
  ~StopLimit() {
    {
      MutexLock lock(mutex_);
      stopped_ = true;
      changed_.NotifyAll();
    }
    thread_.join();
  }

 private:
  void Watch(absl::Duration limit) {
    const absl::Duration end = RealClock::Get().SinceBoot() + limit;
    MutexLock lock(mutex_);
    while (!stopped_) {
      const absl::Duration left = end - RealClock::Get().SinceBoot();
      if (left <= absl::ZeroDuration()) {
        Log(LogLevel::kError, "stopped without an answer of Postgres to what was under way");
        _exit(kExitUnavailable);
      }
      changed_.WaitFor(mutex_, left);
    }
  }

  Mutex mutex_;
  CondVar changed_;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  // Last, so that it begins when the others are there.
  std::thread thread_;
};

absl::Status Serve(const ConfigFlags& flags) {
  // Blocked before any thread is made, so that only the wait below sees them.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  sigprocmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);
  // A standby does not take writes; libpq then tries the next host of the list.
  setenv("PGTARGETSESSIONATTRS", "read-write", 0);
  setenv("PGCONNECT_TIMEOUT", "5", 0);
  FT_ASSIGN_OR_RETURN(config::v1::DaemonConfig config, ReadConfig(flags));
  FT_RETURN_IF_ERROR(PrepareDaemonConfig(&config));
  FT_RETURN_IF_ERROR(InitLogging("finetuned", config.log_level()));
  RaiseFileLimit();
  StopDeadlockDetection();
  RouteGrpcLog(&EndDeafDaemon);
  FT_ASSIGN_OR_RETURN(const auto server, Server::Start(config));
  int received;
  sigwait(&signals, &received);
  {
    const StopLimit limit(FromProtoDuration(config.shutdown_grace_duration()) + kStopMargin);
    server->Stop();
  }
  if (deaf) {
    return MakeError(absl::StatusCode::kUnavailable, "OUT_OF_FILES",
                     "there was no file left for a connection, and none would be accepted after "
                     "that: raise the limit of open files (LimitNOFILE, ulimit -n), or find who "
                     "opens so many connections");
  }
  return absl::OkStatus();
}

absl::Status MigrateCommand(const ConfigFlags& flags) {
  FT_ASSIGN_OR_RETURN(const config::v1::DaemonConfig config, ReadDatabaseConfig(flags));
  FT_ASSIGN_OR_RETURN(const int steps, Migrate(config.database_url()));
  printf("schema version %d (%d %s made)\n", NewestSchemaVersion(), steps,
         steps == 1 ? "step" : "steps");
  return absl::OkStatus();
}

struct TokenFlags {
  std::string workspace = "default";
  std::string principal;
  std::string role = "user";
  int64_t lifetime_days = 0;
  std::string worker;
};

absl::Status CreateToken(const ConfigFlags& config_flags, const TokenFlags& flags) {
  if (!flags.worker.empty() && flags.role != "worker") {
    return absl::InvalidArgumentError("token create: --worker is for --role worker");
  }
  FT_ASSIGN_OR_RETURN(const config::v1::DaemonConfig config, ReadDatabaseConfig(config_flags));
  Pool pool({config.database_url()});
  IdentityStore identity(&pool);
  FT_ASSIGN_OR_RETURN(const std::string token,
                      identity.CreateToken(flags.workspace, flags.principal, flags.role,
                                           absl::Hours(24) * flags.lifetime_days, flags.worker));
  printf("%s\n", token.c_str());
  return absl::OkStatus();
}

absl::Status RevokeToken(const ConfigFlags& config_flags) {
  FT_ASSIGN_OR_RETURN(const config::v1::DaemonConfig config, ReadDatabaseConfig(config_flags));
  char line[256];
  if (fgets(line, sizeof(line), stdin) == nullptr) {
    return absl::InvalidArgumentError("token revoke: give the token on standard input");
  }
  std::string token = line;
  token.resize(token.find_last_not_of(" \r\n") + 1);
  Pool pool({config.database_url()});
  IdentityStore identity(&pool);
  FT_ASSIGN_OR_RETURN(const bool revoked, identity.RevokeToken(token));
  if (!revoked)
    return absl::NotFoundError("token revoke: there is no such token that is still good");
  printf("revoked; a daemon that has just seen it forgets it within 30 s\n");
  return absl::OkStatus();
}

// The agent is a program of its own beside this one.
absl::Status ExecWorker(const std::vector<std::string>& args) {
  const std::string program = ProgramFolder() + "/finetuned-worker";
  std::vector<char*> argv = {const_cast<char*>(program.c_str())};
  for (const std::string& arg : args) argv.push_back(const_cast<char*>(arg.c_str()));
  argv.push_back(nullptr);
  execv(program.c_str(), argv.data());
  return absl::NotFoundError(absl::StrCat("cannot start ", program, ": reinstall finetuned"));
}

void AddConfigFlags(CLI::App* app, ConfigFlags* flags) {
  app->add_option("-c,--config", flags->file,
                  "YAML file (fields: proto/finetuned/config/v1/config.proto)");
  app->add_option("--set", flags->settings,
                  "field=value over the file and the environment; repeatable")
      ->allow_extra_args(false);
}

int Main(int argc, char** argv) {
  if (argc >= 2 && std::string(argv[1]) == "worker") {
    return Report(ExecWorker(std::vector<std::string>(argv + 2, argv + argc)));
  }
  CLI::App app{"An open control plane for fine-tuning foundation models.", "finetuned"};
  app.set_version_flag("--version", std::string("finetuned ") + kVersion);
  app.require_subcommand(1);
  absl::Status status;

  ConfigFlags config_flags;
  CLI::App* serve = app.add_subcommand("serve", "Run the daemon");
  AddConfigFlags(serve, &config_flags);
  serve->callback([&] { status = Serve(config_flags); });

  DevOptions dev_options;
  CLI::App* dev = app.add_subcommand("dev", "Run Postgres, the daemon and a worker, on loopback");
  dev->add_option("--data-dir", dev_options.data_dir, "Folder for all data");
  dev->add_option("--port", dev_options.port, "First of three ports")
      ->check(CLI::Range(1, 65533))
      ->capture_default_str();
  dev->add_option("--trainer-dir", dev_options.trainer_dir, "Folder that holds trainer/");
  dev->add_option("--trainer-python", dev_options.trainer_python, "Python of the trainer");
  dev->add_option("--data-root", dev_options.data_roots,
                  "Folder training data may lie under; repeatable");
  dev->add_option("--serve-set", dev_options.serve_settings,
                  "field=value for the daemon; repeatable");
  dev->add_option("--worker-set", dev_options.worker_settings,
                  "field=value for the worker; repeatable");
  dev->callback([&] { status = RunDev(dev_options); });

  app.add_subcommand("worker", "Run a worker (finetuned worker --help)");

  CLI::App* migrate = app.add_subcommand("migrate", "Bring the database's schema to this version");
  AddConfigFlags(migrate, &config_flags);
  migrate->callback([&] { status = MigrateCommand(config_flags); });

  TokenFlags token_flags;
  CLI::App* token = app.add_subcommand("token", "Make and revoke tokens, directly in the database");
  token->require_subcommand(1);
  CLI::App* create =
      token->add_subcommand("create", "Make a token and print it; it cannot be shown again");
  AddConfigFlags(create, &config_flags);
  create->add_option("--principal", token_flags.principal, "E-mail address it stands for")
      ->required();
  create->add_option("--workspace", token_flags.workspace, "Workspace")->capture_default_str();
  create->add_option("--role", token_flags.role, "Role")
      ->check(CLI::IsMember({"reader", "user", "admin", "worker"}))
      ->capture_default_str();
  create->add_option("--worker", token_flags.worker,
                     "With --role worker: the only worker that may join with it");
  create->add_option("--days", token_flags.lifetime_days, "Days it is good for; 0 for ever")
      ->check(CLI::Range(0, 36500));
  create->callback([&] { status = CreateToken(config_flags, token_flags); });
  CLI::App* revoke = token->add_subcommand("revoke", "Revoke the token given on standard input");
  AddConfigFlags(revoke, &config_flags);
  revoke->callback([&] { status = RevokeToken(config_flags); });

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);
    // CLI11 misses a command before it minds one that is not there.
    const std::vector<std::string> unknown = app.remaining(true);
    const std::string what = unknown.empty() ? error.what() : "unknown: " + unknown.front();
    fprintf(stderr, "finetuned: %s; see finetuned --help\n", what.c_str());
    return kExitUsage;
  }
  return Report(status);
}

}  // namespace
}  // namespace finetuned

int main(int argc, char** argv) { return finetuned::Main(argc, argv); }
