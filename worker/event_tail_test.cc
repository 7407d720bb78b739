#include "worker/event_tail.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "worker/test_support.h"

namespace finetuned {
namespace {

class EventTailTest : public ::testing::Test {
 protected:
  void Write(const std::string& text) {
    std::ofstream(path_, std::ios::app | std::ios::binary) << text;
  }
  const std::string path_ = NewTempFolder() + "/events.jsonl";
};

TEST_F(EventTailTest, AFileThatIsNotThereYetHasNoLines) {
  EventTail tail(path_, 0);
  EXPECT_TRUE(tail.Read(true)->empty());
}

TEST_F(EventTailTest, ALineIsReadOnceItIsWhole) {
  EventTail tail(path_, 0);
  Write("{\"a\":1}\n{\"b\"");
  auto lines = *tail.Read(false);
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(lines[0].text, "{\"a\":1}");
  EXPECT_EQ(lines[0].end_offset, 8);
  EXPECT_TRUE(tail.Read(false)->empty());
  Write(":2}\n");
  lines = *tail.Read(false);
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(lines[0].text, "{\"b\":2}");
}

TEST_F(EventTailTest, AtTheEndALineWithoutNewlineCountsToo) {
  EventTail tail(path_, 0);
  Write("one\ntwo");
  EXPECT_EQ(tail.Read(true)->size(), 2u);
  EXPECT_TRUE(tail.Read(true)->empty());
}

TEST_F(EventTailTest, ARestartFromAnOffsetNeitherLosesNorDoubles) {
  Write("one\ntwo\nthree\n");
  EventTail first(path_, 0);
  const auto lines = *first.Read(false);
  ASSERT_EQ(lines.size(), 3u);
  for (const auto& line : lines) {
    EventTail again(path_, line.end_offset);
    const auto rest = *again.Read(false);
    EXPECT_EQ(rest.size(), static_cast<size_t>(2 - (&line - lines.data())));
  }
}

TEST_F(EventTailTest, ALongLineIsCutAndTheNextIsWhole) {
  Write(std::string(EventTail::kMaxLineBytes + 10, 'x') + "\nnext\n");
  EventTail tail(path_, 0);
  const auto lines = *tail.Read(false);
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_TRUE(lines[0].truncated);
  EXPECT_EQ(lines[0].text.size(), EventTail::kMaxLineBytes);
  EXPECT_EQ(lines[1].text, "next");
}

TEST_F(EventTailTest, AnEndlessLineDoesNotStopTheTail) {
  Write(std::string(3 * EventTail::kMaxReadBytes, 'x') + "\nnext\n");
  EventTail tail(path_, 0);
  std::string last;
  for (int i = 0; i < 10; ++i) {
    const auto lines = tail.Read(false);
    for (const auto& line : *lines) last = line.text;
  }
  EXPECT_EQ(last, "next");
}

TEST_F(EventTailTest, EmptyLinesArePassedOverHoweverMany) {
  EventTail tail(path_, 0);
  Write(std::string(3 * EventTail::kMaxReadBytes, '\n') + "x\n\n");
  const auto lines = *tail.Read(false);
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(lines[0].text, "x");
  EXPECT_TRUE(tail.Read(true)->empty());
  EXPECT_EQ(tail.offset(), static_cast<int64_t>(3 * EventTail::kMaxReadBytes + 3));
}

TEST_F(EventTailTest, WhatIsNoFileIsSaidToBeNone) {
  const std::string folder = path_ + ".d", link = path_ + ".l", fifo = path_ + ".f";
  ASSERT_EQ(mkdir(folder.c_str(), 0755), 0);
  ASSERT_EQ(symlink("/etc/passwd", link.c_str()), 0);
  ASSERT_EQ(mkfifo(fifo.c_str(), 0644), 0);
  for (const std::string& path : {folder, link, fifo}) {
    EventTail tail(path, 0);
    EXPECT_TRUE(absl::IsFailedPrecondition(tail.Read(true).status())) << path;
  }
}

TEST(CutUtf8, NeverEndsInTheMiddleOfACharacter) {
  EXPECT_EQ(CutUtf8("abc", 3), "abc");
  EXPECT_EQ(CutUtf8("abc", 2), "ab");
  for (size_t cut = 1; cut < 4; ++cut) EXPECT_EQ(CutUtf8("a\u20acb", cut), "a");
  EXPECT_EQ(CutUtf8("a\u20acb", 4), "a\u20ac");
  EXPECT_EQ(CutUtf8("\u20ac", 0), "");
}

TEST_F(EventTailTest, WhatIsNotUtf8IsReplaced) {
  EXPECT_EQ(ToValidUtf8("a\xff"
                        "b"),
            "a\xEF\xBF\xBD"
            "b");
  EXPECT_EQ(ToValidUtf8("\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80"),
            "\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80");
  EXPECT_EQ(ToValidUtf8("\xC0\xAF").find('\xC0'), std::string::npos);
  EXPECT_EQ(ToValidUtf8("\xED\xA0\x80").find('\xED'), std::string::npos);
  EXPECT_EQ(ToValidUtf8(std::string("\0", 1)), "\xEF\xBF\xBD");
  EXPECT_EQ(ToValidUtf8("\xE2\x82"), "\xEF\xBF\xBD\xEF\xBF\xBD");
}

}  // namespace
}  // namespace finetuned
