#pragma once

#include <string>

#include "absl/status/statusor.h"

// The schema moves only forward, by numbered files that never change after their release.

namespace finetuned {

struct SchemaState {
  // 0: there is none yet.
  int version = 0;
  // The newest version that older daemons must not run on.
  int breaking_version = 0;
};

// The version this program was built with.
int NewestSchemaVersion();

// Brings the schema to the newest version, as the migration's role, and sets the rights of the
// daemon's. Any number of migrators may run at once: one works, the others wait and find it done.
// Returns how many steps were made. FAILED_PRECONDITION `SCHEMA_NEWER` when a newer program has
// been here; `POSTGRES_TOO_OLD` below version 15.
absl::StatusOr<int> Migrate(const std::string& database_url);

// What is there. FAILED_PRECONDITION as above; UNAVAILABLE when Postgres is not reached.
absl::StatusOr<SchemaState> ReadSchemaState(const std::string& database_url);

// Whether this program may serve on that schema: FAILED_PRECONDITION `SCHEMA_OLDER` or
// `SCHEMA_NEWER`, saying what to do.
absl::Status CheckSchema(const SchemaState& state);

}  // namespace finetuned
