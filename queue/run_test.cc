#include "queue/run.h"

#include <gtest/gtest.h>

namespace finetuned {
namespace {

TEST(Run, NamesAreReadBack) {
  for (const StopKind kind : {StopKind::kNone, StopKind::kCancel, StopKind::kPause,
                              StopKind::kPreempt, StopKind::kDeadline}) {
    EXPECT_EQ(ParseStopKind(Name(kind)), kind);
  }
  for (const Attribution attribution : kAllAttributions) {
    EXPECT_EQ(ParseAttribution(Name(attribution)), attribution);
  }
  EXPECT_EQ(ParseStopKind("STOP"), std::nullopt);
  EXPECT_EQ(ParseAttribution("NOBODY"), std::nullopt);
  EXPECT_STREQ(Name(StopKind::kNone), "");
  EXPECT_STREQ(Name(Attribution::kUnknown), "");
}

TEST(Run, AnyChangeGivesAnotherEtag) {
  const absl::Time time = absl::FromUnixMicros(1'000'000);
  EXPECT_NE(EtagOf(1, time), EtagOf(2, time));
  EXPECT_NE(EtagOf(1, time), EtagOf(1, time + absl::Microseconds(1)));
  EXPECT_EQ(EtagOf(1, time), EtagOf(1, time));
}

TEST(Run, OnlyTheSessionThatHoldsTheNewestAttemptMayWrite) {
  RunSnapshot run;
  run.state = RunState::kRunning;
  run.epoch = run.lease_epoch = 2;
  run.session_id = 5;
  EXPECT_TRUE(run.HeldBy(5, 2));
  EXPECT_FALSE(run.HeldBy(4, 2));
  EXPECT_FALSE(run.HeldBy(5, 1));
  RunSnapshot other = run;
  other.lease_epoch = 0;
  EXPECT_FALSE(other.HeldBy(5, 2));
  other = run;
  other.epoch = 3;
  EXPECT_FALSE(other.HeldBy(5, 2));
  other = run;
  other.state = RunState::kStopped;
  EXPECT_FALSE(other.HeldBy(5, 2));
}

}  // namespace
}  // namespace finetuned
