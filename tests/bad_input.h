#pragma once

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/grpc_status.h"
#include "base/status.h"
#include "tests/support/test_daemon.h"

// What the tests of bad input have in common: how an answer must look, and that a refusal leaves
// nothing behind.

namespace finetuned {

// Long inputs of the tables are made of this letter, so that an echo of one can be found.
inline constexpr char kFiller = 'Q';
inline constexpr size_t kMaxEcho = 64;

inline std::string Filler(size_t count) { return std::string(count, kFiller); }

// A text with U+0000 in it, which a C string cannot hold.
inline std::string WithNul(const std::string& before, const std::string& after) {
  return before + std::string(1, '\0') + after;
}

// Every text that an error carries.
inline std::vector<std::string> TextsOf(const absl::Status& status) {
  std::vector<std::string> texts = {std::string(status.message()), ErrorReason(status)};
  for (const auto& [key, value] : ErrorMetadata(status)) {
    texts.push_back(key);
    texts.push_back(value);
  }
  for (const FieldViolation& violation : Violations(status)) {
    texts.push_back(violation.field);
    texts.push_back(violation.description);
  }
  return texts;
}

// An error that a caller may be shown: canonical, with a reason, and with nothing of the input that
// could hurt.
inline void ExpectCleanError(const absl::Status& status) {
  ASSERT_FALSE(status.ok());
  EXPECT_NE(status.code(), absl::StatusCode::kInternal) << status;
  EXPECT_NE(status.code(), absl::StatusCode::kUnknown) << status;
  EXPECT_NE(ErrorReason(status), "") << status;
  for (const std::string& text : TextsOf(status)) {
    EXPECT_EQ(text.find(Filler(kMaxEcho + 1)), std::string::npos) << "echoes its input: " << text;
    for (const char c : text) {
      EXPECT_FALSE(static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
          << "a control character in " << text;
    }
  }
}

// INVALID_ARGUMENT with this one violation.
inline void ExpectViolation(const absl::Status& status, const std::string& field,
                            const std::string& reason) {
  ExpectCleanError(status);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  const std::vector<FieldViolation> violations = Violations(status);
  ASSERT_EQ(violations.size(), 1u) << status;
  EXPECT_EQ(violations[0].field, field);
  EXPECT_EQ(violations[0].reason, reason);
  EXPECT_NE(violations[0].description, "");
}

// How much is stored; equal before and after whatever was refused.
inline std::string StoredCounts(const TestInstallation& installation) {
  return installation.Sql(
      "select concat_ws('/', (select count(*) from runs), (select count(*) from run_specs), "
      "(select count(*) from run_events), (select count(*) from create_requests), "
      "(select count(*) from run_queue), (select count(*) from leases), "
      "(select count(*) from checkpoints), (select count(*) from workers), "
      "(select sum(active) from owners), (select sum(last_seq) from runs), "
      "(select string_agg(state::text, ',' order by run_id) from runs))");
}

// Makes a unary call and returns how it ended.
template <typename Stub, typename Request, typename Response>
absl::Status CallFor(const TestClient& client, Stub& stub,
                     grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                     const Request& request, Response* response) {
  return FromGrpc((stub.*method)(client.Context().get(), request, response));
}

}  // namespace finetuned
