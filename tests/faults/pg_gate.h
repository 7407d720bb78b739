#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/mutex.h"

namespace finetuned {

// Stands between one client and Postgres, on a Unix socket, and lets its requests through one at a
// time, when it is told to. So the transactions of several clients can be stepped in any order, and
// none of them knows. Several statements in one simple query are let through one by one as well:
// after BEGIN that is the same to the server. It understands the frontend/backend protocol 3.0 as
// far as it has to (PostgreSQL documentation, "Message Formats").
//
// It can also change the text of prepared statements on their way: that is how a mutant of the SQL
// is made without building anything.
class PgGate {
 public:
  // Name of a prepared statement, and the text that is prepared in its place.
  using Mutation = std::map<std::string, std::string>;

  // `server_folder` has the server's socket. `on_change` is called, without locks, whenever
  // something waits or was answered.
  PgGate(const std::string& server_folder, Mutation mutation, std::function<void()> on_change);
  ~PgGate();

  // Where clients connect, as `host`.
  const std::string& folder() const { return folder_; }

  // From now on every request waits to be granted; or none does any more.
  void SetArmed(bool armed) ABSL_LOCKS_EXCLUDED(mutex_);
  // What waits to be granted: the prepared statement's name, or the text of a simple query's
  // statement. Nothing while nothing waits.
  std::optional<std::string> waiting() const ABSL_LOCKS_EXCLUDED(mutex_);
  // Lets what waits through.
  void Grant() ABSL_LOCKS_EXCLUDED(mutex_);
  // Whether a request is with the server and not answered.
  bool with_server() const ABSL_LOCKS_EXCLUDED(mutex_);
  // Process id of the server's end of the newest connection; 0 before one.
  int backend_pid() const ABSL_LOCKS_EXCLUDED(mutex_);
  // SQLSTATEs of all errors that the server has answered with since this was last asked.
  std::vector<std::string> TakeErrors() ABSL_LOCKS_EXCLUDED(mutex_);
  // How often a statement was changed on its way.
  int mutations_made() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Ends {
    int client = -1;
    int server = -1;
  };

  void AcceptLoop();
  // Both until their end is closed.
  void FromClient(Ends ends);
  void FromServer(Ends ends);
  // Whether the request may go on; false when the gate is being closed.
  bool WaitForGrant(const std::string& what) ABSL_LOCKS_EXCLUDED(mutex_);
  // Lets a simple query through, statement by statement; the client gets the last one's answer, or
  // that of the first that failed. False when the connection is over.
  bool PassQuery(const Ends& ends, const std::string& text) ABSL_LOCKS_EXCLUDED(mutex_);
  std::string Mutated(const std::string& parse) ABSL_LOCKS_EXCLUDED(mutex_);

  const std::string server_socket_;
  const Mutation mutation_;
  const std::function<void()> on_change_;
  std::string folder_;
  int listener_ = -1;
  std::thread acceptor_;

  mutable Mutex mutex_;
  CondVar changed_;
  bool armed_ ABSL_GUARDED_BY(mutex_) = false;
  bool closing_ ABSL_GUARDED_BY(mutex_) = false;
  bool granted_ ABSL_GUARDED_BY(mutex_) = false;
  bool with_server_ ABSL_GUARDED_BY(mutex_) = false;
  // What the server answers now is not for the client, unless it is an error.
  bool kept_back_ ABSL_GUARDED_BY(mutex_) = false;
  bool failed_ ABSL_GUARDED_BY(mutex_) = false;
  std::optional<std::string> waiting_ ABSL_GUARDED_BY(mutex_);
  int backend_pid_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<std::string> errors_ ABSL_GUARDED_BY(mutex_);
  int mutations_made_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<Ends> connections_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::thread> threads_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace finetuned
