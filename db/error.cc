#include "db/error.h"

#include <pqxx/except>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/logging.h"
#include "base/status.h"

namespace finetuned {
namespace {

constexpr absl::Duration kRetryDelay = absl::Seconds(1);

absl::Status Unavailable(const std::string& reason, const std::string& why) {
  return UnavailableError(reason, why, kRetryDelay);
}

std::string FirstLine(const std::string& text) { return text.substr(0, text.find('\n')); }

// What Postgres says may quote a value, so it is for the log only.
absl::Status Bug(const std::string& statement, const std::string& sqlstate,
                 const std::string& message) {
  Log(LogLevel::kError, "statement failed",
      {{"statement", statement}, {"sqlstate", sqlstate}, {"error", FirstLine(message)}});
  return MakeError(absl::StatusCode::kInternal, "DATABASE_ERROR",
                   absl::StrCat("statement ", statement, " failed (", sqlstate, ")"));
}

}  // namespace

absl::Status TranslateSqlState(const std::string& sqlstate, const std::string& statement,
                               const std::string& message) {
  const std::string klass = sqlstate.substr(0, 2);
  // 08 connection; 57P operator intervention; 53 resources; 25006 read-only; 57014 timeout; 55P03
  // lock timeout; 25P02/25P03 transaction gone.
  if (klass == "08" || klass == "53" || absl::StartsWith(sqlstate, "57P") || sqlstate == "25006" ||
      sqlstate == "57014" || sqlstate == "55P03" || sqlstate == "25P02" || sqlstate == "25P03" ||
      klass == "58") {
    absl::Status status =
        Unavailable("DATABASE_UNAVAILABLE",
                    absl::StrCat("the database cannot serve this now (", sqlstate, ")"));
    status.SetPayload("finetuned/sqlstate", absl::Cord(sqlstate));
    return status;
  }
  if (sqlstate == "40001" || sqlstate == "40P01") {
    return MakeError(absl::StatusCode::kAborted, "TRANSACTION_CONFLICT",
                     absl::StrCat("conflict in ", statement));
  }
  if (sqlstate == "23505") {
    return MakeError(absl::StatusCode::kAlreadyExists, "UNIQUE_VIOLATION",
                     absl::StrCat("unique constraint in ", statement));
  }
  if (sqlstate == "42P01" || sqlstate == "42703" || sqlstate == "42501" || sqlstate == "42883" ||
      sqlstate == "3F000") {
    return MakeError(absl::StatusCode::kFailedPrecondition, "SCHEMA_MISMATCH",
                     absl::StrCat("the schema does not fit this version: ", FirstLine(message),
                                  ". Run `finetuned migrate` with the migration role."));
  }
  return Bug(statement, sqlstate, message);
}

absl::Status TranslateCurrentException(const std::string& statement) {
  try {
    throw;
  } catch (const pqxx::in_doubt_error&) {
    return Unavailable("COMMIT_IN_DOUBT",
                       absl::StrCat("the connection was lost while ", statement, " committed"));
  } catch (const pqxx::broken_connection&) {
    return Unavailable("DATABASE_UNAVAILABLE", "the connection to the database was lost");
  } catch (const pqxx::deadlock_detected&) {
    return TranslateSqlState("40P01", statement, "");
  } catch (const pqxx::transaction_rollback&) {
    // libpqxx 6 gives serialization failures no SQLSTATE.
    return TranslateSqlState("40001", statement, "");
  } catch (const pqxx::sql_error& error) {
    return TranslateSqlState(error.sqlstate(), statement, error.what());
  } catch (const std::exception& error) {
    return Bug(statement, "", error.what());
  }
}

bool IsInDoubt(const absl::Status& status) { return ErrorReason(status) == "COMMIT_IN_DOUBT"; }

bool IsConflict(const absl::Status& status) {
  return ErrorReason(status) == "TRANSACTION_CONFLICT";
}

bool BreaksConnection(const absl::Status& status) {
  // A lock or statement timeout leaves the connection whole.
  const auto sqlstate = status.GetPayload("finetuned/sqlstate");
  if (sqlstate.has_value() && (*sqlstate == "57014" || *sqlstate == "55P03")) return false;
  return status.code() == absl::StatusCode::kUnavailable;
}

}  // namespace finetuned
