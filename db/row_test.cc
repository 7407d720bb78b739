#include "db/row.h"

#include <gtest/gtest.h>

#include "base/time.h"

namespace finetuned {
namespace {

TEST(ParseTime, ReadsWhatPostgresWrites) {
  for (const auto& [text, expected] : std::vector<std::pair<const char*, const char*>>{
           {"2026-01-31 23:59:59+00", "2026-01-31T23:59:59Z"},
           {"2026-01-31 23:59:59.2+00", "2026-01-31T23:59:59.2Z"},
           {"2024-02-29 00:00:00.000001+00", "2024-02-29T00:00:00.000001Z"},
           {"0001-01-01 00:00:00+00", "0001-01-01T00:00:00Z"},
           {"9999-12-31 23:59:59.999999+00", "9999-12-31T23:59:59.999999Z"},
           {"12026-11-26 20:53:53+00", "12026-11-26T20:53:53Z"},
       }) {
    absl::Time time;
    std::string error;
    ASSERT_TRUE(absl::ParseTime(absl::RFC3339_full, expected, &time, &error)) << error;
    EXPECT_EQ(ParseTime(text), time) << text;
  }
}

TEST(ParseTime, RefusesAnythingElse) {
  for (const char* text :
       {"", "infinity", "-infinity", "2026-01-31", "2026-01-31 23:59:59", "2026-01-31 23:59:59+01",
        "2026-01-31 23:59:59.+", "2026-01-31 23:59:59.25", "2026-01-31T23:59:59+00",
        "2026-01-31 23:59:59.x+00", "2026-01-31 23:59+00", "2026-02-30 00:00:00+00",
        "2026-13-01 00:00:00+00", "2026-01-31 24:00:00+00", "26-01-31 23:59:59+00",
        "99999999999999999999-01-31 23:59:59+00", "2026-01-31 23:59:59.25+00 BC",
        "2026-01-31 23:59:59+00:30"}) {
    EXPECT_THROW(ParseTime(text), pqxx::conversion_error) << text;
  }
}

}  // namespace
}  // namespace finetuned
