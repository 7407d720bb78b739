// Every order in which the statements of two sessions can be run by Postgres, for each pair of
// transactions that meet.

#include <gtest/gtest.h>

#include <iostream>

#include "tests/faults/races.h"

namespace finetuned {
namespace {

TEST(Interleavings, NoOrderOfTwoTransactionsBreaksAPromise) {
  SceneMaker scenes;
  Explorer explorer(&scenes);
  int schedules = 0;
  for (const Race& race : AllRaces()) {
    const Exploration exploration = explorer.Explore(race);
    EXPECT_EQ(exploration.violation, "");
    // Each session may at least go first.
    EXPECT_GE(exploration.schedules, 2) << race.name;
    std::cout << exploration.schedules << " orders of " << race.name << "\n";
    schedules += exploration.schedules;
  }
  std::cout << schedules << " orders in all\n";
}

}  // namespace
}  // namespace finetuned
