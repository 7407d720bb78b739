#include "daemon/run_hub.h"

#include <gtest/gtest.h>

namespace finetuned {
namespace {

using Change = RunHub::Change;

// Counts how often it was woken.
RunHub::Callback Count(int* count) {
  return [count] { ++*count; };
}

TEST(RunHub, WakesThoseWhoFollowTheRunForThatChange) {
  RunHub hub;
  int events = 0, desired = 0, other = 0;
  hub.Subscribe({1, 2}, Change::kEvents, Count(&events));
  hub.Subscribe({1}, Change::kDesired, Count(&desired));
  hub.Subscribe({3}, Change::kEvents, Count(&other));
  hub.Wake(1, Change::kEvents);
  hub.Wake(2, Change::kEvents);
  hub.Wake(1, Change::kDesired);
  hub.Wake(4, Change::kEvents);
  EXPECT_EQ(events, 2);
  EXPECT_EQ(desired, 1);
  EXPECT_EQ(other, 0);
}

TEST(RunHub, WhoHasLeftIsNotWokenAndLeavingTwiceIsHarmless) {
  RunHub hub;
  int stays = 0, leaves = 0;
  hub.Subscribe({1}, Change::kEvents, Count(&stays));
  const int64_t leaving = hub.Subscribe({1}, Change::kEvents, Count(&leaves));
  hub.Unsubscribe(leaving);
  hub.Unsubscribe(leaving);
  hub.Unsubscribe(12345);
  hub.Wake(1, Change::kEvents);
  EXPECT_EQ(stays, 1);
  EXPECT_EQ(leaves, 0);
}

// A worker that was lost and leased its run again holds two attempts of it for a moment.
TEST(RunHub, ARunThatIsGivenTwiceIsFollowedOnce) {
  RunHub hub;
  int woken = 0;
  const int64_t subscription = hub.Subscribe({7, 7, 8, 7}, Change::kDesired, Count(&woken));
  hub.Wake(7, Change::kDesired);
  EXPECT_EQ(woken, 1);
  hub.Unsubscribe(subscription);
  hub.Wake(7, Change::kDesired);
  hub.Wake(8, Change::kDesired);
  EXPECT_EQ(woken, 1);
}

TEST(RunHub, ClosingWakesEverybodyOnce) {
  RunHub hub;
  int events = 0, desired = 0;
  hub.Subscribe({1, 2, 3}, Change::kEvents, Count(&events));
  hub.Subscribe({1}, Change::kDesired, Count(&desired));
  EXPECT_FALSE(hub.closed());
  hub.Close();
  EXPECT_TRUE(hub.closed());
  EXPECT_EQ(events, 1);
  EXPECT_EQ(desired, 1);
}

// Wakes are given without the lock, so whoever is woken may come back at once.
TEST(RunHub, WhoIsWokenMayLeaveAndFollowAgain) {
  RunHub hub;
  int woken = 0;
  int64_t subscription = 0;
  subscription = hub.Subscribe({1}, Change::kEvents, [&] {
    ++woken;
    hub.Unsubscribe(subscription);
    subscription = hub.Subscribe({2}, Change::kEvents, Count(&woken));
  });
  hub.Wake(1, Change::kEvents);
  hub.Wake(1, Change::kEvents);
  hub.Wake(2, Change::kEvents);
  EXPECT_EQ(woken, 2);
}

}  // namespace
}  // namespace finetuned
