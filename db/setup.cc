#include "db/setup.h"

#include <pqxx/pqxx>

#include "db/error.h"

namespace finetuned {

absl::Status CheckConnection(const std::string& database_url) {
  try {
    pqxx::connection connection(database_url);
    return absl::OkStatus();
  } catch (const std::exception& error) {
    // The reason for a person; the connection's text holds no secret where this is used.
    return absl::UnavailableError(error.what());
  }
}

absl::Status PrepareDevDatabase(const std::string& superuser_url) {
  try {
    pqxx::connection connection(superuser_url);
    pqxx::nontransaction tx(connection);
    if (tx.exec("select from pg_roles where rolname = 'finetuned_daemon'").empty()) {
      tx.exec("create role finetuned_daemon login");
    }
    if (tx.exec("select from pg_database where datname = 'finetuned'").empty()) {
      tx.exec("create database finetuned");
    }
    return absl::OkStatus();
  } catch (...) {
    return TranslateCurrentException("prepare_dev_database");
  }
}

}  // namespace finetuned
