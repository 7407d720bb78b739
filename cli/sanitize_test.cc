#include "cli/sanitize.h"

#include <gtest/gtest.h>

namespace finetuned::cli {
namespace {

TEST(Sanitize, ShowsEscapeSequencesInsteadOfSendingThem) {
  EXPECT_EQ(Sanitize("a\x1b[2Jb"), "a\\x1b[2Jb");
  EXPECT_EQ(Sanitize(std::string_view("a\0b", 3)), "a\\x00b");
  EXPECT_EQ(Sanitize("one\ntwo\tthree\r"), "one\\ntwo\\tthree\\r");
  // C1: a terminal may take U+009B for ESC [.
  EXPECT_EQ(Sanitize("\xc2\x9b"
                     "31m"),
            "\\u009b31m");
}

TEST(Sanitize, ShowsWhatTurnsTheDirectionOfWriting) {
  EXPECT_EQ(Sanitize("run-\u202egpj"), "run-\\u202egpj");
  EXPECT_EQ(Sanitize("\u2066x\u2069"), "\\u2066x\\u2069");
  EXPECT_EQ(Sanitize("\U000e0041"), "\\U000e0041");
}

TEST(Sanitize, KeepsOrdinaryTextOfEveryScript) {
  const std::string text = "Größe 模型 модель नमूना 👩‍🔬";
  EXPECT_EQ(Sanitize(text), text);
}

TEST(Sanitize, ShowsBytesThatAreNotUtf8) {
  EXPECT_EQ(Sanitize("\xff"), "\\xff");
  EXPECT_EQ(Sanitize("\xc0\xaf"), "\\xc0\\xaf");           // Overlong.
  EXPECT_EQ(Sanitize("\xed\xa0\x80"), "\\xed\\xa0\\x80");  // A surrogate.
  EXPECT_EQ(Sanitize("a\xe2\x82"), "a\\xe2\\x82");         // Cut.
}

TEST(SanitizeBlock, KeepsNewlinesAndTabsOnly) {
  EXPECT_EQ(SanitizeBlock("a\n\tb\x07"), "a\n\tb\\x07");
}

TEST(SanitizeJson, StaysTheSameJson) {
  EXPECT_EQ(SanitizeJson("{\"a\":\"\u2067x\"}"), "{\"a\":\"\\u2067x\"}");
  EXPECT_EQ(SanitizeJson("{\n \"a\": \"ü\"\n}"), "{\n \"a\": \"ü\"\n}");
}

TEST(StreamSanitizer, PutsCharactersTogetherThatCameInPieces) {
  StreamSanitizer stream;
  std::string text;
  for (const char byte : std::string("€\x1b模")) text += stream.Feed(std::string(1, byte));
  EXPECT_EQ(text, "€\\x1b模");
  EXPECT_EQ(stream.Flush(), "");
}

TEST(StreamSanitizer, ShowsWhatIsLeftOfACharacterAtTheEnd) {
  StreamSanitizer stream;
  EXPECT_EQ(stream.Feed("a\xe2\x82"), "a");
  EXPECT_EQ(stream.Flush(), "\\xe2\\x82");
}

TEST(StreamSanitizer, EndsALineAtACarriageReturn) {
  StreamSanitizer stream;
  EXPECT_EQ(stream.Feed("10%\r20%\r"), "10%\n20%\n");
  EXPECT_EQ(stream.Feed("\nnext\r\n"), "next\n");
}

TEST(ShellWord, IsReadByAShellAsItself) {
  EXPECT_EQ(ShellWord("/Users/a@example.com/run-1"), "/Users/a@example.com/run-1");
  EXPECT_EQ(ShellWord("a b"), "'a b'");
  EXPECT_EQ(ShellWord("$(x)`y`"), "'$(x)`y`'");
  EXPECT_EQ(ShellWord("it's"), "'it'\\''s'");
  EXPECT_EQ(ShellWord("a\nb"), "'a\\nb'");
  EXPECT_EQ(ShellWord(""), "''");
}

}  // namespace
}  // namespace finetuned::cli
