#pragma once

#include <string>

#include "absl/status/status.h"

// The one place where what Postgres and libpqxx say becomes a canonical error. Exceptions end here.

namespace finetuned {

// To be called from a catch block. What the errors are:
//
// UNAVAILABLE `DATABASE_UNAVAILABLE`: no connection, or one lost before the COMMIT was sent;
// read-only; full.
//
// UNAVAILABLE `COMMIT_IN_DOUBT`: the connection was lost while COMMIT was on its way, so it may
// have happened.
//
// ABORTED `TRANSACTION_CONFLICT`: serialization failure or deadlock; the transaction may be run
// again.
//
// ALREADY_EXISTS `UNIQUE_VIOLATION`: a unique constraint.
//
// FAILED_PRECONDITION `SCHEMA_MISMATCH`: a table or a right is missing: the schema is not migrated.
//
// INTERNAL `DATABASE_ERROR`: anything else, which is a bug of ours.
//
// Messages carry no connection strings and no values of users.
absl::Status TranslateCurrentException(const std::string& statement);

// The same for a SQLSTATE; exposed for its table test.
absl::Status TranslateSqlState(const std::string& sqlstate, const std::string& statement,
                               const std::string& message);

bool IsInDoubt(const absl::Status& status);
// Whether the transaction met another and may be run again.
bool IsConflict(const absl::Status& status);
// Whether the connection that the error came from is of no use any more.
bool BreaksConnection(const absl::Status& status);

}  // namespace finetuned
