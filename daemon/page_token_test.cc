#include "daemon/page_token.h"

#include <gtest/gtest.h>

#include "base/status.h"

namespace finetuned {
namespace {

const RunPageKey kAt = {absl::FromUnixMicros(1789000000123456), 42};

TEST(PageToken, ComesBackAsItWas) {
  for (const RunPageKey& at :
       {kAt, RunPageKey{absl::FromUnixMicros(-1), 1},
        RunPageKey{absl::FromUnixMicros(0), std::numeric_limits<int64_t>::max()}}) {
    const auto read = ReadPageToken("key", "scope", MakePageToken("key", "scope", at));
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_EQ(read->create_time, at.create_time);
    EXPECT_EQ(read->run_id, at.run_id);
  }
}

// One text for every way in which it can be wrong, so that an answer tells a forger nothing.
TEST(PageToken, EveryOtherTextIsRefusedInTheSameWords) {
  const std::string token = MakePageToken("key", "scope", kAt);
  const absl::Status refusal = ReadPageToken("key", "scope", "x").status();
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
    EXPECT_EQ(ReadPageToken("key", "scope", text).status(), refusal) << text;
  }
}

}  // namespace
}  // namespace finetuned
