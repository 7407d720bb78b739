#include "base/time.h"

#include <gtest/gtest.h>

namespace finetuned {
namespace {

TEST(Time, TimesBeforeTheEpochHavePositiveNanos) {
  const absl::Time time = absl::FromUnixMillis(-1);
  EXPECT_EQ(ToProtoTime(time).seconds(), -1);
  EXPECT_EQ(ToProtoTime(time).nanos(), 999000000);
  EXPECT_EQ(FromProtoTime(ToProtoTime(time)), time);
}

TEST(Time, InfiniteTimesBecomeTheLimits) {
  EXPECT_TRUE(IsValid(ToProtoTime(absl::InfiniteFuture())));
  EXPECT_TRUE(IsValid(ToProtoTime(absl::InfinitePast())));
  EXPECT_TRUE(IsValid(ToProtoDuration(absl::InfiniteDuration())));
  EXPECT_TRUE(IsValid(ToProtoDuration(-absl::InfiniteDuration())));
}

TEST(Time, DurationsComeBack) {
  for (const absl::Duration duration :
       {absl::ZeroDuration(), absl::Milliseconds(1500), absl::Milliseconds(-1500)}) {
    EXPECT_EQ(FromProtoDuration(ToProtoDuration(duration)), duration);
    EXPECT_TRUE(IsValid(ToProtoDuration(duration)));
  }
}

TEST(Time, ValuesOutsideTheDocumentedRangesAreInvalid) {
  google::protobuf::Timestamp time;
  time.set_nanos(-1);
  EXPECT_FALSE(IsValid(time));
  time.set_nanos(1000000000);
  EXPECT_FALSE(IsValid(time));
  time.set_nanos(0);
  time.set_seconds(253402300800);  // Year 10000.
  EXPECT_FALSE(IsValid(time));
  google::protobuf::Duration duration;
  duration.set_seconds(1);
  duration.set_nanos(-1);
  EXPECT_FALSE(IsValid(duration));
}

TEST(Time, IsWrittenInUtc) {
  EXPECT_EQ(FormatRfc3339(absl::FromUnixMillis(1120)), "1970-01-01T00:00:01.120000Z");
}

}  // namespace
}  // namespace finetuned
