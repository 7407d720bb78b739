#include "daemon/text.h"

#include <gtest/gtest.h>

namespace finetuned {
namespace {

TEST(Text, CountsCharactersAndNotBytes) {
  EXPECT_EQ(CharacterCount(""), 0u);
  EXPECT_EQ(CharacterCount("abc"), 3u);
  EXPECT_EQ(CharacterCount("\u00e9\u20ac\U0001f680"), 3u);
}

TEST(Text, KnowsTheControlCharactersOfAscii) {
  for (const std::string& text : {std::string("a\nb"), std::string("\x1b[31m"), std::string("\x7f"),
                                  std::string("a\0b", 3)}) {
    EXPECT_TRUE(HasControl(text));
  }
  EXPECT_FALSE(HasControl("plain \u20ac text"));
}

TEST(Text, OneLineIsCutBetweenCharacters) {
  EXPECT_EQ(OneLine("a\nb\x1b[c", 100), "a b [c");
  EXPECT_EQ(OneLine("abc", 3), "abc");
  EXPECT_EQ(OneLine("abcd", 3), "abc");
  EXPECT_EQ(OneLine("a\u20ac", 4), "a\u20ac");
  for (const size_t cut : {size_t{1}, size_t{2}, size_t{3}})
    EXPECT_EQ(OneLine("a\u20ac", cut), "a");
  EXPECT_EQ(OneLine("\u20ac", 0), "");
}

TEST(Text, TheLastLinesKeepTheirBreaksAndTheirEnd) {
  EXPECT_EQ(LastLines("one\ntwo\nthree", 9), "two\nthree");
  EXPECT_EQ(LastLines("short", 100), "short");
  EXPECT_EQ(LastLines("\u20acb", 4), "\u20acb");
  for (const size_t cut : {size_t{1}, size_t{2}, size_t{3}})
    EXPECT_EQ(LastLines("\u20acb", cut), "b");
  EXPECT_EQ(LastLines(std::string("a\0b", 3), 3), "a b");
}

}  // namespace
}  // namespace finetuned
