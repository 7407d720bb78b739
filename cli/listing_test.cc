#include "cli/listing.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/errors.h"
#include "cli/live_view.h"

namespace finetuned::cli {
namespace {

using ::testing::HasSubstr;

Listing TestListing() {
  Listing listing({"NAME", "LAST SEEN"}, {"UID"});
  listing.AddRow({"a", "5m", "u-1"});
  listing.AddRow({"b, \"c\"\n", "-", "u-2"});
  return listing;
}

TEST(Listing, ShowsMoreColumnsWhenItIsWide) {
  Listing::Options options;
  EXPECT_EQ(TestListing().Render(options),
            "NAME      LAST SEEN\n"
            "a         5m\n"
            "b, \"c\"\\n  -\n");
  options.wide = true;
  options.headers = false;
  EXPECT_EQ(TestListing().Render(options),
            "a         5m  u-1\n"
            "b, \"c\"\\n  -   u-2\n");
}

TEST(Listing, ShowsTheColumnsThatWereAskedForInTheirOrder) {
  Listing::Options options;
  options.columns = {"uid", "last-seen", "NAME", "name"};
  EXPECT_EQ(TestListing().Render(options),
            "UID  LAST SEEN  NAME      NAME\n"
            "u-1  5m         a         a\n"
            "u-2  -          b, \"c\"\\n  b, \"c\"\\n\n");
  EXPECT_TRUE(TestListing().CheckColumns(options.columns).ok());
  const absl::Status status = TestListing().CheckColumns({"name", "nam"});
  EXPECT_EQ(ExitCodeOf(status), kExitUsage);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("no column `nam`; there are name, last_seen, uid."));
}

TEST(Listing, SortsByWhatAColumnSays) {
  Listing listing({"NAME", "AGE", "SIZE", "DONE"});
  listing.AddRow({"run-10", "3m", "1.5 GiB", "9%"});
  listing.AddRow({"run-9", "2d", "900 MiB", "-"});
  listing.AddRow({"a", "45s", "1000 B", "40% loss 1.2"});
  const auto names = [&listing](const std::string& sort) {
    Listing::Options options;
    options.columns = {"name"};
    options.headers = false;
    options.sort = sort;
    return listing.Render(options);
  };
  EXPECT_EQ(names(""), "run-10\nrun-9\na\n");
  EXPECT_EQ(names("name"), "a\nrun-10\nrun-9\n");
  EXPECT_EQ(names("age"), "a\nrun-10\nrun-9\n");
  EXPECT_EQ(names("age:desc"), "run-9\nrun-10\na\n");
  EXPECT_EQ(names("size"), "a\nrun-9\nrun-10\n");
  // What is absent comes last either way.
  EXPECT_EQ(names("done"), "run-10\na\nrun-9\n");
  EXPECT_EQ(names("done:desc"), "a\nrun-10\nrun-9\n");
  Listing models({"NAME", "PARAMETERS"});
  for (const char* count : {"1.24B", "770K", "70B", "13M"}) models.AddRow({count, count});
  Listing::Options options;
  options.columns = {"name"};
  options.headers = false;
  options.sort = "parameters";
  EXPECT_EQ(models.Render(options), "770K\n13M\n1.24B\n70B\n");
  Listing costs({"NAME", "COST"});
  for (const char* cost : {"10 GPU h", "nan", "2 GPU h"}) costs.AddRow({cost, cost});
  options.sort = "cost";
  EXPECT_EQ(costs.Render(options), "2 GPU h\n10 GPU h\nnan\n");
  EXPECT_TRUE(listing.CheckSort("AGE:asc").ok());
  EXPECT_EQ(ExitCodeOf(listing.CheckSort("agee")), kExitUsage);
}

TEST(Listing, QuotesCsvAndLeavesAbsentValuesEmpty) {
  Listing::Options options;
  options.csv = true;
  EXPECT_EQ(TestListing().Render(options),
            "name,last_seen,uid\r\n"
            "a,5m,u-1\r\n"
            "\"b, \"\"c\"\"\\n\",,u-2\r\n");
  EXPECT_EQ(Listing({"A"}).Render(options), "a\r\n");
  options.csv = false;
  EXPECT_EQ(Listing({"A"}).Render(options), "");
}

TEST(LiveView, DrawsOverWhatWasThere) {
  LiveView view(0);
  EXPECT_EQ(view.Draw("a\nb\n"), "\x1b[?7la\nb\n\x1b[?7h");
  EXPECT_EQ(view.Draw("c\n"), "\x1b[2A\r\x1b[J\x1b[?7lc\n\x1b[?7h");
  EXPECT_EQ(view.Draw(""), "\x1b[1A\r\x1b[J");
  EXPECT_EQ(view.Draw("d\n"), "\x1b[?7ld\n\x1b[?7h");
}

TEST(LiveView, CutsWhatWouldLeaveTheScreen) {
  LiveView view(4);
  EXPECT_EQ(view.Draw("a\nb\nc\n"), "\x1b[?7la\nb\nc\n\x1b[?7h");
  EXPECT_EQ(view.Draw("a\nb\nc\nd\ne\n"),
            "\x1b[3A\r\x1b[J\x1b[?7la\nb\nand 3 more lines\n\x1b[?7h");
}

}  // namespace
}  // namespace finetuned::cli
