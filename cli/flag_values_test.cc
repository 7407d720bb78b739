#include "cli/flag_values.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/errors.h"

namespace finetuned::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

TEST(ParseState, TakesNamesInAnyCase) {
  EXPECT_EQ(ParseState("running").value(), v1::Run::RUNNING);
  EXPECT_EQ(ParseState("FAILED").value(), v1::Run::FAILED);
  EXPECT_EQ(ExitCodeOf(ParseState("canceled").status()), kExitUsage);
  EXPECT_EQ(ExitCodeOf(ParseState("state_unspecified").status()), kExitUsage);
}

TEST(ParsePriority, TakesNamesInAnyCase) {
  EXPECT_EQ(ParsePriority("lowest").value(), v1::Scheduling::LOWEST);
  EXPECT_EQ(ParsePriority("HIGH").value(), v1::Scheduling::HIGH);
  EXPECT_EQ(ExitCodeOf(ParsePriority("urgent").status()), kExitUsage);
  EXPECT_EQ(ExitCodeOf(ParsePriority("priority_unspecified").status()), kExitUsage);
}

TEST(ParseLabels, SplitsAtTheFirstEqualsSign) {
  EXPECT_THAT(ParseLabels({"b=x=y", "a="}).value(), ElementsAre(Pair("a", ""), Pair("b", "x=y")));
  EXPECT_EQ(ExitCodeOf(ParseLabels({"a"}).status()), kExitUsage);
  EXPECT_EQ(ExitCodeOf(ParseLabels({"=a"}).status()), kExitUsage);
  EXPECT_THAT(ParseLabels({"a=1", "a=2"}).status().message(), HasSubstr("`a` twice"));
}

}  // namespace
}  // namespace finetuned::cli
