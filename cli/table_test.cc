#include "cli/table.h"

#include <gtest/gtest.h>

namespace finetuned::cli {
namespace {

TEST(DisplayWidth, CountsCellsAndNotBytes) {
  EXPECT_EQ(DisplayWidth("abc"), 3);
  EXPECT_EQ(DisplayWidth("Größe"), 5);
  EXPECT_EQ(DisplayWidth("模型"), 4);
  EXPECT_EQ(DisplayWidth("e\u0301"), 1);
  EXPECT_EQ(DisplayWidth("\xff"), 1);
}

TEST(FitToWidth, CutsAtACharacterAndSaysSo) {
  EXPECT_EQ(FitToWidth("abcdef", 6), "abcdef");
  EXPECT_EQ(FitToWidth("abcdefg", 6), "abcde…");
  EXPECT_EQ(FitToWidth("模型模型", 6), "模型…");
  EXPECT_EQ(FitToWidth("abc", 0), "");
}

TEST(Table, AlignsColumnsByCells) {
  Table table({"NAME", "STATE", "OWNER"});
  table.AddRow({"模型", "RUNNING", "a@example.com"});
  table.AddRow({"run-2", "FAILED", ""});
  EXPECT_EQ(table.Render(false),
            "NAME   STATE    OWNER\n"
            "模型   RUNNING  a@example.com\n"
            "run-2  FAILED\n");
}

TEST(Table, CutsTheLastColumnAndNoOther) {
  Table table({"NAME", "MESSAGE"});
  table.AddRow({"a-rather-long-name", "a rather long message"});
  EXPECT_EQ(table.Render(false, 30),
            "NAME                MESSAGE\n"
            "a-rather-long-name  a rather …\n");
  EXPECT_EQ(table.Render(false, 5),
            "NAME                MESSAGE\n"
            "a-rather-long-name  a rath…\n");
}

TEST(Table, ColoursTheWordAndNotTheSpaceBehindIt) {
  Table table({"A", "B"});
  table.AddRow({Cell("x", Style::kRed), "y"});
  EXPECT_EQ(table.Render(true), "\x1b[1mA\x1b[0m  \x1b[1mB\x1b[0m\n\x1b[31mx\x1b[0m  y\n");
}

TEST(Table, EscapesWhatTheServerSent) {
  Table table({"A"});
  table.AddRow({"\x1b]0;x\x07"});
  EXPECT_EQ(table.Render(false), "A\n\\x1b]0;x\\x07\n");
}

TEST(KeyValues, LeavesOutWhatIsNotThereAndIndentsFurtherLines) {
  KeyValues page;
  page.Add("Name", "run-1");
  page.Add("Worker", "");
  page.Add("Last output", "one\nNext: rm -rf\n");
  EXPECT_EQ(page.Render(false),
            "Name:         run-1\n"
            "Last output:  one\n"
            "              Next: rm -rf\n");
}

}  // namespace
}  // namespace finetuned::cli
