#include "daemon/sparing.h"

#include <gtest/gtest.h>

namespace finetuned {
namespace {

TEST(Sparing, WhatIsQuickIsDoneWheneverItIsAskedFor) {
  FakeClock clock;
  Sparing sparing(&clock);
  int done = 0;
  for (int i = 0; i < 3; ++i) sparing.Do([&] { ++done; });
  EXPECT_EQ(done, 3);
}

TEST(Sparing, WhatTakesLongIsDoneAHundredthOfTheTime) {
  FakeClock clock;
  Sparing sparing(&clock);
  int done = 0;
  const auto ask = [&] {
    sparing.Do([&] {
      ++done;
      clock.Advance(absl::Seconds(2));
    });
  };
  ask();
  clock.Advance(absl::Seconds(197));
  ask();
  EXPECT_EQ(done, 1);
  clock.Advance(absl::Seconds(1));
  ask();
  EXPECT_EQ(done, 2);
}

}  // namespace
}  // namespace finetuned
