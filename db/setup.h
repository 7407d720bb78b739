#pragma once

#include <string>

#include "absl/status/status.h"

// What stands before the schema: used by dev mode and by tests, which own their Postgres.

namespace finetuned {

// Whether a connection can be made.
absl::Status CheckConnection(const std::string& database_url);

// Makes the database `finetuned` and the role `finetuned_daemon` when they are missing, as the
// superuser.
absl::Status PrepareDevDatabase(const std::string& superuser_url);

}  // namespace finetuned
