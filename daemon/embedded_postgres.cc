#include "daemon/embedded_postgres.h"

#include <errno.h>
#include <pwd.h>
#include <signal.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/status.h"
#include "db/setup.h"

namespace finetuned {
namespace {

namespace fs = std::filesystem;

constexpr int kMinMajor = 15;
// sun_path of sockaddr_un has 108 bytes; Postgres adds `/.s.PGSQL.5432`.
constexpr size_t kMaxSocketFolder = 107 - 14;

// Where Debian's package keeps its programs, one folder per major version; and where `make deps`
// unpacks them.
constexpr const char* kPostgresFolders[] = {"/usr/lib/postgresql",
                                            "/opt/finetuned/postgresql/usr/lib/postgresql"};

absl::StatusOr<std::string> FindBinFolder() {
  int best = 0;
  std::string folder;
  std::error_code error;
  for (const char* root : kPostgresFolders) {
    for (const auto& entry : fs::directory_iterator(root, error)) {
      int major = 0;
      if (absl::SimpleAtoi(entry.path().filename().string(), &major) && major > best &&
          fs::exists(entry.path() / "bin/postgres", error)) {
        best = major;
        folder = entry.path().string() + "/bin";
      }
    }
  }
  if (best >= kMinMajor) return folder;
  return MakeError(absl::StatusCode::kFailedPrecondition, "POSTGRES_MISSING",
                   absl::StrCat("no Postgres ", kMinMajor,
                                " or newer is installed: run `make deps`, or apt-get install "
                                "postgresql-15, or give `finetuned serve` a database_url"));
}

// Postgres refuses to run as root. Without Debian's package there is no user of its own for it.
const passwd* UserForPostgres() {
  const passwd* user = getpwnam("postgres");
  return user != nullptr ? user : getpwnam("nobody");
}

absl::Status MakeOwnedFolder(const std::string& path, std::optional<uid_t> uid,
                             std::optional<gid_t> gid) {
  FT_RETURN_IF_ERROR(MakeDirectories(path));
  if (chmod(path.c_str(), 0700) != 0) return ErrnoError(errno, "cannot set the mode of", path);
  if (uid.has_value() && chown(path.c_str(), *uid, *gid) != 0) {
    return ErrnoError(errno, "cannot give away", path);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<EmbeddedPostgres> EmbeddedPostgres::Prepare(const std::string& folder) {
  EmbeddedPostgres postgres;
  postgres.folder_ = folder;
  FT_ASSIGN_OR_RETURN(postgres.bin_folder_, FindBinFolder());
  if (geteuid() == 0) {
    const passwd* user = UserForPostgres();
    if (user == nullptr) {
      return MakeError(absl::StatusCode::kFailedPrecondition, "POSTGRES_USER_MISSING",
                       "there is neither a user `postgres` nor `nobody` to run Postgres as: make "
                       "one, or run dev mode as an ordinary user");
    }
    postgres.uid_ = user->pw_uid;
    postgres.gid_ = user->pw_gid;
  }
  FT_RETURN_IF_ERROR(MakeOwnedFolder(folder, postgres.uid_, postgres.gid_));
  postgres.socket_folder_ = folder;
  if (postgres.socket_folder_.size() > kMaxSocketFolder) {
    // Stable, so that a restart finds the server that may still be running.
    postgres.socket_folder_ = "/tmp/finetuned-" + Sha256Hex(folder).substr(0, 16);
    FT_RETURN_IF_ERROR(MakeOwnedFolder(postgres.socket_folder_, postgres.uid_, postgres.gid_));
  }
  postgres.log_file_ = folder + "/postgres.log";
  if (FileExists(folder + "/data/PG_VERSION")) return postgres;
  ChildSpec initdb;
  initdb.argv = {postgres.bin_folder_ + "/initdb",
                 "--pgdata",
                 folder + "/data",
                 "--username",
                 "finetuned_admin",
                 "--auth",
                 "trust",
                 "--encoding",
                 "UTF8",
                 "--locale",
                 "C.UTF-8"};
  initdb.log_file = folder + "/initdb.log";
  initdb.uid = postgres.uid_;
  initdb.gid = postgres.gid_;
  FT_RETURN_IF_ERROR(RunChild(initdb));
  return postgres;
}

ChildSpec EmbeddedPostgres::ServerSpec() const {
  ChildSpec spec;
  spec.argv = {bin_folder_ + "/postgres",
               "-D",
               folder_ + "/data",
               "-c",
               "listen_addresses=",
               "-c",
               "unix_socket_directories=" + socket_folder_,
               "-c",
               "unix_socket_permissions=0700",
               "-c",
               "logging_collector=off",
               "-c",
               "max_connections=100",
               "-c",
               "shared_buffers=64MB",
               "-c",
               "autovacuum_naptime=5s",
               "-c",
               "jit=off"};
  spec.log_file = log_file_;
  spec.uid = uid_;
  spec.gid = gid_;
  spec.death_signal = SIGINT;  // A fast shutdown.
  return spec;
}

absl::Status EmbeddedPostgres::WaitUntilReady(int seconds) const {
  absl::Status status;
  for (int i = 0; i < seconds * 20; ++i) {
    status = CheckConnection(Url("finetuned_admin", "postgres"));
    if (status.ok()) return status;
    const timespec pause = {0, 50'000'000};
    nanosleep(&pause, nullptr);
  }
  return MakeError(absl::StatusCode::kUnavailable, "POSTGRES_NOT_READY",
                   absl::StrCat("Postgres did not come up in ", seconds, " s; see ", log_file_,
                                ". ", std::string(status.message())));
}

absl::Status EmbeddedPostgres::PrepareDatabase() const {
  return PrepareDevDatabase(Url("finetuned_admin", "postgres"));
}

std::string EmbeddedPostgres::Url(const std::string& role, const std::string& database) const {
  return absl::StrCat("host=", socket_folder_, " user=", role, " dbname=", database);
}

}  // namespace finetuned
