#include "db/prelude.h"

#include <set>
#include <vector>

#include <gtest/gtest.h>

namespace finetuned {
namespace {

constexpr Query kFirst{"first", ""};
constexpr Query kSecond{"second", ""};

TEST(Prelude, IsBeginAlone) { EXPECT_EQ(Prelude().text(), "begin"); }

TEST(Prelude, KeepsTheOrderOfItsStatements) {
  const Prelude prelude = Prelude().Then(kSecond).Then(kFirst, 7);
  EXPECT_EQ(prelude.text(), "begin; execute second; execute first(7)");
  EXPECT_EQ(prelude.queries(), (std::vector<const Query*>{&kSecond, &kFirst}));
}

TEST(Prelude, WritesWhatStatementsTake) {
  const std::set<int64_t> ids = {-5, 9'000'000'000};
  const std::vector<bool> flags = {true, false};
  EXPECT_EQ(Prelude().Then(kFirst, ids, flags, true, std::vector<int>()).text(),
            "begin; execute first('{-5,9000000000}', '{t,f}', true, '{}')");
  EXPECT_EQ(Prelude().Then(kFirst, std::optional<int>(3), std::optional<int>()).text(),
            "begin; execute first(3, null)");
}

}  // namespace
}  // namespace finetuned
