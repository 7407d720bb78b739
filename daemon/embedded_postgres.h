#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "daemon/child.h"

namespace finetuned {

// A Postgres of dev mode's own: its data under one folder, no network, a socket that only its user
// reaches. Started by root it runs as the user `postgres`, or `nobody` where there is none, because
// Postgres refuses root.
class EmbeddedPostgres {
 public:
  // `folder` is made when it is missing and must be reachable by the user that Postgres runs as.
  static absl::StatusOr<EmbeddedPostgres> Prepare(const std::string& folder);

  // How the server is started; it ends when its supervisor does.
  ChildSpec ServerSpec() const;

  // Waits until it takes connections, at most `seconds`. UNAVAILABLE with the end of its log
  // otherwise.
  absl::Status WaitUntilReady(int seconds) const;

  // Makes the database and the daemon's role when they are missing.
  absl::Status PrepareDatabase() const;

  // Connections of the migration's role and of the daemon's.
  std::string AdminUrl() const { return Url("finetuned_admin", "finetuned"); }
  std::string DaemonUrl() const { return Url("finetuned_daemon", "finetuned"); }

 private:
  std::string Url(const std::string& role, const std::string& database) const;

  std::string folder_;
  std::string bin_folder_;
  std::string socket_folder_;
  std::string log_file_;
  std::optional<uid_t> uid_;
  std::optional<gid_t> gid_;
};

}  // namespace finetuned
