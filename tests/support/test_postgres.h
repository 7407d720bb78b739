#pragma once

#include <memory>
#include <string>

#include "db/pool.h"

namespace finetuned {

// A Postgres of the test program's own, started with the first use and ended with the program. Each
// database is cloned from one that was migrated once, so a test begins with the newest schema and
// nothing else.
class TestPostgres {
 public:
  // Set in the environment, before the first use, has Postgres wait for the disk.
  static constexpr char kSyncVariable[] = "FINETUNED_TEST_FSYNC";

  struct Database {
    std::string name;
    // Connections of the migration's role (a superuser here) and of the daemon's.
    std::string admin_url;
    std::string daemon_url;
  };

  // To be called from the main thread first.
  static TestPostgres& Get();

  // A database with the schema; or, with `empty`, without.
  Database NewDatabase(bool empty = false);

  // Runs SQL as the superuser and returns the first column of the first row; "" without rows.
  // Aborts the test program on an error.
  static std::string Query(const Database& database, const std::string& sql);

  // Stops the server as kill -9 would, and starts it again.
  void KillAndRestart();

 private:
  TestPostgres();
  std::string Url(const std::string& role, const std::string& database) const;

  std::string folder_;
  std::string socket_folder_;
  int next_ = 1;
};

// Connects, and prepares every statement: libpqxx prepares one when it is first used, which would
// be a request of its own then.
void PrepareAllStatements(Pool& pool);

// A connection that stays open, for many small questions. Not safe for concurrent use.
class TestSession {
 public:
  explicit TestSession(const std::string& url);
  ~TestSession();

  // The first column of the first row; "" without rows. Aborts the test program on an error.
  std::string Query(const std::string& sql);

 private:
  struct Connection;
  std::unique_ptr<Connection> connection_;
};

}  // namespace finetuned
