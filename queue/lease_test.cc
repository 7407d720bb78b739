#include "queue/lease.h"

#include <gtest/gtest.h>

namespace finetuned {
namespace {

TEST(Lease, TheDefaultsKeepTheOrder) { EXPECT_TRUE(CheckLeaseTimes(LeaseTimes()).ok()); }

TEST(Lease, ReassigningBeforeTheWorkerHasSurelyStoppedIsRefusedToTheTick) {
  LeaseTimes times;
  times.reassign = times.self_stop + times.grace + times.margin;
  EXPECT_TRUE(CheckLeaseTimes(times).ok());
  times.reassign -= absl::Nanoseconds(1);
  const absl::Status status = CheckLeaseTimes(times);
  EXPECT_NE(status.ToString().find("lease.reassign_duration"), std::string::npos);
}

TEST(Lease, ASelfStopThatOneLostRenewalWouldCauseIsRefused) {
  LeaseTimes times;
  times.self_stop = times.renew_interval * 3 - absl::Nanoseconds(1);
  EXPECT_FALSE(CheckLeaseTimes(times).ok());
}

TEST(Lease, TimesMustBePositive) {
  LeaseTimes times;
  times.margin = absl::ZeroDuration();
  EXPECT_NE(CheckLeaseTimes(times).ToString().find("lease.margin_duration"), std::string::npos);
}

TEST(Lease, AnOutageDeservesAmnestyAndALateLookDoesNot) {
  EXPECT_FALSE(DeservesAmnesty(absl::Seconds(10), absl::Seconds(1)));
  EXPECT_TRUE(DeservesAmnesty(absl::Seconds(10) + absl::Nanoseconds(1), absl::Seconds(1)));
}

}  // namespace
}  // namespace finetuned
