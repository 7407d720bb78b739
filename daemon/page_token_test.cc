#include "daemon/page_token.h"

#include <limits>

#include <gtest/gtest.h>

#include "base/status.h"

namespace finetuned {
namespace {

const std::vector<int64_t> kAt = {1789000000123456, 42};

TEST(PageToken, ComesBackAsItWas) {
  for (const std::vector<int64_t>& at :
       {kAt, {-1, 1}, {0, std::numeric_limits<int64_t>::max()}, {7}}) {
    const auto read = ReadPageToken("key", "scope", MakePageToken("key", "scope", at), at.size());
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_EQ(*read, at);
  }
}

// One text for every way in which it can be wrong, so that an answer tells a forger nothing.
TEST(PageToken, EveryOtherTextIsRefusedInTheSameWords) {
  const std::string token = MakePageToken("key", "scope", kAt);
  const absl::Status refusal = ReadPageToken("key", "scope", "x", 2).status();
  EXPECT_EQ(ErrorReason(refusal), "BAD_PAGE_TOKEN");
  std::vector<std::string> wrong = {"",
                                    " ",
                                    "%%%",
                                    token + "A",
                                    token.substr(1),
                                    token.substr(0, token.size() - 1),
                                    token + token,
                                    MakePageToken("other key", "scope", kAt),
                                    MakePageToken("key", "other scope", kAt),
                                    MakePageToken("key", "scope", {1}),
                                    MakePageToken("key", "scope", {1, 2, 3}),
                                    std::string(10000, 'A'),
                                    std::string(1, '\0')};
  for (size_t i = 0; i < token.size(); ++i) {
    for (const char c : {'A', 'b', '_', '='}) {
      if (token[i] == c) continue;
      std::string changed = token;
      changed[i] = c;
      // The last character has bits that decode to nothing.
      if (i + 1 < token.size()) wrong.push_back(changed);
    }
  }
  for (const std::string& text : wrong) {
    EXPECT_EQ(ReadPageToken("key", "scope", text, 2).status(), refusal) << text;
  }
}

}  // namespace
}  // namespace finetuned
