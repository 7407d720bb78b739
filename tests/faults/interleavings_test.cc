// Every order in which the statements of two sessions, or of three, can be run by Postgres, for the
// transactions that meet.

#include <gtest/gtest.h>

#include <cctype>
#include <iostream>
#include <memory>

#include "tests/faults/races.h"

namespace finetuned {

// What a failure shows of a race.
void PrintTo(const Race& race, std::ostream* out) { *out << race.name; }

namespace {

// A test of each race. They share one daemon's scenes.
class Interleavings : public testing::TestWithParam<Race> {
 protected:
  static void SetUpTestSuite() { scenes_ = std::make_unique<SceneMaker>(); }
  static void TearDownTestSuite() { scenes_.reset(); }

  static std::unique_ptr<SceneMaker> scenes_;
};

std::unique_ptr<SceneMaker> Interleavings::scenes_;

TEST_P(Interleavings, NoOrderBreaksAPromise) {
  Explorer explorer(scenes_.get());
  const Exploration exploration = explorer.Explore(GetParam());
  EXPECT_EQ(exploration.violation, "");
  // Each session may at least go first.
  EXPECT_GE(exploration.schedules, static_cast<int>(GetParam().acts.size()));
  std::cout << exploration.schedules << " orders of " << GetParam().name << std::endl;
}

std::string NameOf(const testing::TestParamInfo<Race>& info) {
  std::string name;
  for (const char c : info.param.name) {
    if (std::isalnum(static_cast<unsigned char>(c)) != 0) name.push_back(c);
    if (std::isspace(static_cast<unsigned char>(c)) != 0) name.push_back('_');
  }
  return name;
}

INSTANTIATE_TEST_SUITE_P(OfTwo, Interleavings, testing::ValuesIn(AllRaces()), NameOf);
INSTANTIATE_TEST_SUITE_P(OfThree, Interleavings, testing::ValuesIn(TripleRaces()), NameOf);

}  // namespace

}  // namespace finetuned
