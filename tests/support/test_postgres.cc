#include "tests/support/test_postgres.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <filesystem>
#include <optional>

#include <pqxx/pqxx>

#include "daemon/embedded_postgres.h"
#include "db/migrator.h"
#include "db/queries.h"

namespace finetuned {
namespace {

std::optional<EmbeddedPostgres> server;
pid_t server_pid = 0;
std::string root_folder;

[[noreturn]] void Die(const std::string& what) {
  fprintf(stderr, "the tests' Postgres: %s\n", what.c_str());
  abort();
}

void Check(const absl::Status& status) {
  if (!status.ok()) Die(status.ToString());
}

void StartServer() {
  ChildSpec spec = server->ServerSpec();
  // The data are thrown away, so waiting for the disk would prove nothing here; where times are
  // measured it is part of them.
  const char* fsync = getenv(TestPostgres::kSyncVariable) == nullptr ? "fsync=off" : "fsync=on";
  for (const char* setting : {fsync, "synchronous_commit=on", "max_connections=300"}) {
    spec.argv.push_back("-c");
    spec.argv.push_back(setting);
  }
  auto pid = StartChild(spec);
  Check(pid.status());
  server_pid = *pid;
  Check(server->WaitUntilReady(60));
}

void StopServer() {
  if (server_pid == 0) return;
  kill(server_pid, SIGQUIT);
  waitpid(server_pid, nullptr, 0);
  server_pid = 0;
  std::error_code error;
  std::filesystem::remove_all(root_folder, error);
}

}  // namespace

TestPostgres& TestPostgres::Get() {
  static TestPostgres* postgres = new TestPostgres;
  return *postgres;
}

TestPostgres::TestPostgres() {
  char pattern[] = "/tmp/finetuned-test-XXXXXX";
  root_folder = mkdtemp(pattern);
  chmod(root_folder.c_str(), 0755);  // Run by root, Postgres is another user.
  folder_ = root_folder + "/postgres";
  auto prepared = EmbeddedPostgres::Prepare(folder_);
  Check(prepared.status());
  server = *std::move(prepared);
  StartServer();
  atexit(StopServer);
  Check(server->PrepareDatabase());
  Check(Migrate(server->AdminUrl()).status());
}

std::string TestPostgres::Url(const std::string& role, const std::string& database) const {
  return "host=" + folder_ + " user=" + role + " dbname=" + database;
}

TestPostgres::Database TestPostgres::NewDatabase(bool empty) {
  Database database;
  database.name = "test_" + std::to_string(next_++);
  database.admin_url = Url("finetuned_admin", database.name);
  database.daemon_url = Url("finetuned_daemon", database.name);
  pqxx::connection connection(Url("finetuned_admin", "postgres"));
  pqxx::nontransaction tx(connection);
  tx.exec("create database " + database.name + " template " + (empty ? "template0" : "finetuned"));
  return database;
}

std::string TestPostgres::Query(const Database& database, const std::string& sql) {
  return TestSession(database.admin_url).Query(sql);
}

void PrepareAllStatements(Pool& pool) {
  Check(pool.Read("prepare", [](pqxx::transaction_base& tx) {
    for (const struct Query* query : kAllQueries) tx.conn().prepare_now(query->name);
    return absl::OkStatus();
  }));
}

struct TestSession::Connection {
  pqxx::connection postgres;
};

TestSession::TestSession(const std::string& url)
    : connection_(new Connection{pqxx::connection(url)}) {}
TestSession::~TestSession() = default;

std::string TestSession::Query(const std::string& sql) {
  try {
    pqxx::nontransaction tx(connection_->postgres);
    const pqxx::result rows = tx.exec(sql);
    if (rows.empty() || rows.columns() == 0 || rows[0][0].is_null()) return "";
    return rows[0][0].c_str();
  } catch (const std::exception& error) {
    Die(sql + ": " + error.what());
  }
}

void TestPostgres::KillAndRestart() {
  kill(server_pid, SIGKILL);
  waitpid(server_pid, nullptr, 0);
  StartServer();
}

}  // namespace finetuned
