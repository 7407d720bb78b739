#include "base/status.h"

#include <gtest/gtest.h>

#include "base/grpc_status.h"

namespace finetuned {
namespace {

TEST(Status, AReasonAndItsMetadataComeBack) {
  const absl::Status status =
      MakeError(absl::StatusCode::kNotFound, "RUN_NOT_FOUND", "no run", {{"run", "a"}});
  EXPECT_EQ(ErrorReason(status), "RUN_NOT_FOUND");
  EXPECT_EQ(ErrorMetadata(status).at("run"), "a");
  EXPECT_EQ(ErrorReason(absl::NotFoundError("plain")), "");
}

TEST(Status, EveryViolationIsInTheMessageAndInTheDetails) {
  const absl::Status status =
      InvalidArgument({{"a", "is bad", "BAD_A"}, {"b.c", "is worse", "BAD_C"}});
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(std::string(status.message()), "a: is bad; b.c: is worse");
  const auto violations = Violations(status);
  ASSERT_EQ(violations.size(), 2u);
  EXPECT_EQ(violations[1].field, "b.c");
  EXPECT_EQ(violations[1].reason, "BAD_C");
  EXPECT_EQ(ErrorReason(status), "BAD_A");
}

TEST(Status, CrossesGrpcAndComesBackWithItsDetails) {
  const absl::Status status = UnavailableError("DATABASE_DOWN", "later", absl::Seconds(2));
  const absl::Status back = FromGrpc(ToGrpc(status));
  EXPECT_EQ(back.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(ErrorReason(back), "DATABASE_DOWN");
  EXPECT_EQ(RetryDelay(back), absl::Seconds(2));
  EXPECT_TRUE(FromGrpc(ToGrpc(absl::OkStatus())).ok());
}

TEST(Status, DetailsOfAnotherCodeAreNotBelieved) {
  const grpc::Status forged(grpc::StatusCode::NOT_FOUND, "x",
                            ToProto(absl::InternalError("y")).SerializeAsString());
  EXPECT_EQ(FromGrpc(forged).code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace finetuned
