#pragma once

namespace finetuned {

// One named statement. Its name is that of the prepared statement, of the metric's label and of the
// log's field.
struct Query {
  const char* name;
  const char* sql;
};

// One step of the schema.
struct Migration {
  int version;
  const char* name;
  // Whether a daemon that does not know it must not run on it.
  bool breaking;
  const char* sql;
};

}  // namespace finetuned
