// Every order in which the statements of two sessions, or of three, can be run by Postgres, for the
// transactions that meet.

#include <gtest/gtest.h>

#include <iostream>

#include "tests/faults/races.h"

namespace finetuned {
namespace {

void ExploreAll(const std::vector<Race>& races) {
  SceneMaker scenes;
  Explorer explorer(&scenes);
  int schedules = 0;
  for (const Race& race : races) {
    const Exploration exploration = explorer.Explore(race);
    EXPECT_EQ(exploration.violation, "");
    // Each session may at least go first.
    EXPECT_GE(exploration.schedules, static_cast<int>(race.acts.size())) << race.name;
    std::cout << exploration.schedules << " orders of " << race.name << std::endl;
    schedules += exploration.schedules;
  }
  std::cout << schedules << " orders in all\n";
}

TEST(Interleavings, NoOrderOfTwoTransactionsBreaksAPromise) { ExploreAll(AllRaces()); }

TEST(Interleavings, NoOrderOfThreeTransactionsBreaksAPromise) { ExploreAll(TripleRaces()); }

}  // namespace
}  // namespace finetuned
