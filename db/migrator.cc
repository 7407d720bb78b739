#include "db/migrator.h"

#include <iterator>
#include <memory>

#include <pqxx/pqxx>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "db/error.h"
#include "db/queries.h"

namespace finetuned {
namespace {

// The oldest Postgres that has what the schema uses.
constexpr int kMinServerVersion = 150000;

absl::Status CheckServer(pqxx::connection& connection) {
  if (connection.server_version() >= kMinServerVersion) return absl::OkStatus();
  return MakeError(absl::StatusCode::kFailedPrecondition, "POSTGRES_TOO_OLD",
                   absl::StrCat("this Postgres is version ", connection.server_version() / 10000,
                                "; finetuned needs 15 or newer: upgrade it, or give another "
                                "database_url"));
}

// What libpq says names the host, the user and the database, never the password.
absl::StatusOr<std::unique_ptr<pqxx::connection>> Connect(const std::string& database_url) {
  std::unique_ptr<pqxx::connection> connection;
  try {
    connection = std::make_unique<pqxx::connection>(database_url);
  } catch (const pqxx::broken_connection& error) {
    const std::string why = error.what();
    return UnavailableError("DATABASE_UNREACHABLE",
                            absl::StrCat("database_url: ", why.substr(0, why.find('\n')),
                                         ": start that Postgres, or correct database_url"),
                            absl::Seconds(1));
  }
  FT_RETURN_IF_ERROR(CheckServer(*connection));
  return connection;
}

bool HasTable(pqxx::transaction_base& tx) {
  return tx.exec1("select to_regclass('public.schema_migrations') is not null")[0].as<bool>();
}

SchemaState StateOf(pqxx::transaction_base& tx) {
  SchemaState state;
  if (!HasTable(tx)) return state;
  const auto row = tx.exec1(
      "select coalesce(max(version), 0), coalesce(max(version) filter (where breaking), 0) "
      "from public.schema_migrations");
  state.version = row[0].as<int>();
  state.breaking_version = row[1].as<int>();
  return state;
}

absl::Status NewerError(const SchemaState& state) {
  return MakeError(absl::StatusCode::kFailedPrecondition, "SCHEMA_NEWER",
                   absl::StrCat("the database has schema version ", state.breaking_version,
                                ", which this program (version ", NewestSchemaVersion(),
                                ") does not know: run a newer finetuned"));
}

}  // namespace

int NewestSchemaVersion() { return static_cast<int>(std::size(kMigrations)); }

absl::StatusOr<int> Migrate(const std::string& database_url) {
  try {
    FT_ASSIGN_OR_RETURN(const auto connection, Connect(database_url));
    pqxx::work tx(*connection);
    // Others wait here until this transaction is over. The number is this program's name in ASCII.
    tx.exec("select pg_advisory_xact_lock(x'66696e6574756e65'::bigint)");
    tx.exec(
        "set local search_path = public; "
        "create table if not exists schema_migrations ("
        "version int primary key, name text not null, breaking boolean not null, "
        "apply_time timestamptz not null default clock_timestamp())");
    const SchemaState before = StateOf(tx);
    if (before.breaking_version > NewestSchemaVersion()) return NewerError(before);
    int steps = 0;
    for (const Migration& migration : kMigrations) {
      if (migration.version <= before.version) continue;
      tx.exec_params("insert into schema_migrations (version, name, breaking) values ($1, $2, $3)",
                     migration.version, migration.name, migration.breaking);
      tx.exec(migration.sql);
      ++steps;
    }
    tx.exec(kGrants);
    tx.commit();
    return steps;
  } catch (...) {
    return TranslateCurrentException("migrate");
  }
}

absl::StatusOr<SchemaState> ReadSchemaState(const std::string& database_url) {
  try {
    FT_ASSIGN_OR_RETURN(const auto connection, Connect(database_url));
    pqxx::nontransaction tx(*connection);
    return StateOf(tx);
  } catch (...) {
    return TranslateCurrentException("read_schema_state");
  }
}

absl::Status CheckSchema(const SchemaState& state) {
  if (state.version < NewestSchemaVersion()) {
    return MakeError(
        absl::StatusCode::kFailedPrecondition, "SCHEMA_OLDER",
        absl::StrCat("the database has schema version ", state.version, " and this program needs ",
                     NewestSchemaVersion(), ": run `finetuned migrate`"));
  }
  if (state.breaking_version > NewestSchemaVersion()) return NewerError(state);
  return absl::OkStatus();
}

}  // namespace finetuned
