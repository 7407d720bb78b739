#include "db/error.h"

#include <gtest/gtest.h>

#include <pqxx/except>

#include "base/status.h"

namespace finetuned {
namespace {

struct Row {
  const char* sqlstate;
  absl::StatusCode code;
  const char* reason;
  bool breaks_connection;
};

// What callers do next hangs on the code: UNAVAILABLE may be sent again, ABORTED is run again by
// the pool, the rest is not.
TEST(DatabaseError, EachSqlStateIsOneCanonicalError) {
  constexpr auto kUnavailable = absl::StatusCode::kUnavailable;
  const std::vector<Row> rows = {
      {"08000", kUnavailable, "DATABASE_UNAVAILABLE", true},  // connection_exception
      {"08006", kUnavailable, "DATABASE_UNAVAILABLE", true},  // connection_failure
      {"08P01", kUnavailable, "DATABASE_UNAVAILABLE", true},  // protocol_violation
      {"57P01", kUnavailable, "DATABASE_UNAVAILABLE", true},  // admin_shutdown
      {"57P02", kUnavailable, "DATABASE_UNAVAILABLE", true},  // crash_shutdown
      {"57P03", kUnavailable, "DATABASE_UNAVAILABLE", true},  // cannot_connect_now
      {"25006", kUnavailable, "DATABASE_UNAVAILABLE", true},  // read_only_sql_transaction
      {"25P02", kUnavailable, "DATABASE_UNAVAILABLE", true},  // in_failed_sql_transaction
      {"25P03", kUnavailable, "DATABASE_UNAVAILABLE", true},  // idle_in_transaction_session_timeout
      {"53100", kUnavailable, "DATABASE_UNAVAILABLE", true},  // disk_full
      {"53300", kUnavailable, "DATABASE_UNAVAILABLE", true},  // too_many_connections
      {"58030", kUnavailable, "DATABASE_UNAVAILABLE", true},  // io_error
      {"57014", kUnavailable, "DATABASE_UNAVAILABLE", false},  // query_canceled: a timeout
      {"55P03", kUnavailable, "DATABASE_UNAVAILABLE", false},  // lock_not_available
      {"40001", absl::StatusCode::kAborted, "TRANSACTION_CONFLICT", false},
      {"40P01", absl::StatusCode::kAborted, "TRANSACTION_CONFLICT", false},
      {"23505", absl::StatusCode::kAlreadyExists, "UNIQUE_VIOLATION", false},
      {"42P01", absl::StatusCode::kFailedPrecondition, "SCHEMA_MISMATCH", false},
      {"42703", absl::StatusCode::kFailedPrecondition, "SCHEMA_MISMATCH", false},
      {"42501", absl::StatusCode::kFailedPrecondition, "SCHEMA_MISMATCH", false},
      {"23514", absl::StatusCode::kInternal, "DATABASE_ERROR", false},  // check_violation: a bug
      {"22P02", absl::StatusCode::kInternal, "DATABASE_ERROR", false},
      {"", absl::StatusCode::kInternal, "DATABASE_ERROR", false},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.sqlstate);
    const absl::Status status = TranslateSqlState(row.sqlstate, "the_statement", "words");
    EXPECT_EQ(status.code(), row.code) << status;
    EXPECT_EQ(ErrorReason(status), row.reason);
    EXPECT_EQ(BreaksConnection(status), row.breaks_connection);
    EXPECT_FALSE(IsInDoubt(status));
    EXPECT_EQ(RetryDelay(status) > absl::ZeroDuration(), row.code == kUnavailable);
  }
}

template <typename Exception>
absl::Status Thrown(const Exception& exception) {
  try {
    throw exception;
  } catch (...) {
    return TranslateCurrentException("the_statement");
  }
}

// Which exception says what, in libpqxx 6: deadlocks and serialization failures are no sql_error
// there, and what is known least, a COMMIT in doubt, must not be taken for anything else.
TEST(DatabaseError, EachExceptionIsOneCanonicalError) {
  const absl::Status in_doubt = Thrown(pqxx::in_doubt_error("lost"));
  EXPECT_TRUE(IsInDoubt(in_doubt));
  EXPECT_TRUE(BreaksConnection(in_doubt));
  EXPECT_EQ(ErrorReason(Thrown(pqxx::broken_connection("gone"))), "DATABASE_UNAVAILABLE");
  EXPECT_EQ(ErrorReason(Thrown(pqxx::deadlock_detected("circle"))), "TRANSACTION_CONFLICT");
  EXPECT_EQ(ErrorReason(Thrown(pqxx::serialization_failure("late"))), "TRANSACTION_CONFLICT");
  EXPECT_EQ(ErrorReason(Thrown(pqxx::unique_violation("twice", "insert", "23505"))),
            "UNIQUE_VIOLATION");
  EXPECT_EQ(Thrown(std::runtime_error("anything")).code(), absl::StatusCode::kInternal);
}

TEST(DatabaseError, WhatPostgresQuotesIsNotTold) {
  const std::string secret = "Failing row contains (hunter2).";
  for (const char* sqlstate : {"23505", "23514", "22P02", "40001", "57014"}) {
    const absl::Status status = TranslateSqlState(sqlstate, "the_statement", secret);
    EXPECT_EQ(status.ToString().find("hunter2"), std::string::npos) << status;
  }
  EXPECT_EQ(Thrown(pqxx::broken_connection("password=hunter2")).ToString().find("hunter2"),
            std::string::npos);
}

}  // namespace
}  // namespace finetuned
