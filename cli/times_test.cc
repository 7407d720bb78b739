#include "cli/times.h"

#include <gtest/gtest.h>

#include "cli/errors.h"
#include "cli/units.h"

namespace finetuned::cli {
namespace {

absl::Time At(const std::string& text) {
  absl::Time time;
  std::string error;
  EXPECT_TRUE(absl::ParseTime(absl::RFC3339_full, text, &time, &error)) << error;
  return time;
}

const absl::Time kNow = absl::FromUnixSeconds(1767268800);  // 2026-01-01T12:00:00Z

TEST(ParseDuration, TakesUnitsInAnyNumber) {
  EXPECT_EQ(ParseDuration("90s").value(), absl::Seconds(90));
  EXPECT_EQ(ParseDuration("1h30m").value(), absl::Minutes(90));
  EXPECT_EQ(ParseDuration("1.5d").value(), absl::Hours(36));
  EXPECT_EQ(ParseDuration("2w").value(), absl::Hours(336));
  EXPECT_EQ(ParseDuration("250ms").value(), absl::Milliseconds(250));
}

TEST(ParseDuration, RefusesWhatHasNoUnitOrNoNumber) {
  for (const char* text : {"", "5", "h", "2x", "-2h", "2 h", "1..5h", "20000d", "2h5"}) {
    const auto result = ParseDuration(text);
    EXPECT_EQ(ExitCodeOf(result.status()), kExitUsage) << text;
  }
}

TEST(ParseTimePoint, ReadsEveryFormThatHelpNames) {
  EXPECT_EQ(ParseTimePoint("2026-01-31T18:00:00Z", kNow).value(), At("2026-01-31T18:00:00Z"));
  EXPECT_EQ(ParseTimePoint("2026-01-31T18:00:00.25+02:00", kNow).value(),
            At("2026-01-31T16:00:00.25Z"));
  EXPECT_EQ(ParseTimePoint("2026-01-31", kNow).value(), At("2026-01-31T00:00:00Z"));
  EXPECT_EQ(ParseTimePoint("2026-01-31 18:30", kNow).value(), At("2026-01-31T18:30:00Z"));
  EXPECT_EQ(ParseTimePoint("2h", kNow).value(), At("2026-01-01T10:00:00Z"));
  EXPECT_EQ(ParseTimePoint("yesterday", kNow).value(), At("2025-12-31T00:00:00Z"));
  EXPECT_EQ(ParseTimePoint("today", kNow).value(), At("2026-01-01T00:00:00Z"));
  EXPECT_EQ(ParseTimePoint("now", kNow).value(), kNow);
}

TEST(ParseTimePoint, RefusesWhatIsNoTime) {
  for (const char* text : {"", "tomorrow", "2026-13-01", "2026-01-01T25:00:00Z", "01/31/2026",
                           "01-31-2026", "12:30:00", "01-31-2026 12:30:00"}) {
    EXPECT_EQ(ExitCodeOf(ParseTimePoint(text, kNow).status()), kExitUsage) << text;
  }
}

TEST(FormatAge, UsesOneUnitThatChangesAtTwoOfTheNext) {
  EXPECT_EQ(FormatAge(-absl::Seconds(3)), "0s");
  EXPECT_EQ(FormatAge(absl::Seconds(119)), "119s");
  EXPECT_EQ(FormatAge(absl::Seconds(120)), "2m");
  EXPECT_EQ(FormatAge(absl::Minutes(120) - absl::Seconds(1)), "119m");
  EXPECT_EQ(FormatAge(absl::Hours(2)), "2h");
  EXPECT_EQ(FormatAge(absl::Hours(48) - absl::Seconds(1)), "47h");
  EXPECT_EQ(FormatAge(absl::Hours(48)), "2d");
}

TEST(HumanDuration, UsesTwoUnits) {
  EXPECT_EQ(HumanDuration(absl::Milliseconds(1250)), "1.2s");
  EXPECT_EQ(HumanDuration(absl::Seconds(59)), "59s");
  EXPECT_EQ(HumanDuration(absl::Seconds(312)), "5m 12s");
  EXPECT_EQ(HumanDuration(absl::Minutes(5)), "5m");
  EXPECT_EQ(HumanDuration(absl::Minutes(123)), "2h 3m");
  EXPECT_EQ(HumanDuration(absl::Hours(103)), "4d 7h");
}

TEST(FormatRelative, SaysWhichSideOfThePresent) {
  EXPECT_EQ(FormatRelative(kNow - absl::Minutes(5), kNow), "5m ago");
  EXPECT_EQ(FormatRelative(kNow + absl::Minutes(5), kNow), "in 5m");
  EXPECT_EQ(FormatRelative(kNow, kNow), "now");
  EXPECT_EQ(FormatRelative(absl::UnixEpoch(), kNow), "");
}

TEST(ParseBytes, TellsPowersOf1024FromPowersOf1000) {
  EXPECT_EQ(ParseBytes("8GiB").value(), int64_t{8} << 30);
  EXPECT_EQ(ParseBytes("8Gi").value(), int64_t{8} << 30);
  EXPECT_EQ(ParseBytes("8GB").value(), 8000000000);
  EXPECT_EQ(ParseBytes("8g").value(), 8000000000);
  EXPECT_EQ(ParseBytes("1.5KiB").value(), 1536);
  EXPECT_EQ(ParseBytes("4096").value(), 4096);
  EXPECT_EQ(ParseBytes("1PiB").value(), int64_t{1} << 50);
}

TEST(ParseBytes, RefusesOtherUnitsAndMoreThanThereIs) {
  for (const char* text : {"", "GiB", "8GiBs", "8xB", "-1GiB", "1025TiB", "99999999999999999999"}) {
    EXPECT_EQ(ExitCodeOf(ParseBytes(text).status()), kExitUsage) << text;
  }
}

TEST(FormatBytes, RoundsToWhatAPersonReads) {
  EXPECT_EQ(FormatBytes(512), "512 B");
  EXPECT_EQ(FormatBytes(1536), "1.5 KiB");
  EXPECT_EQ(FormatBytes(int64_t{8} << 30), "8 GiB");
}

}  // namespace
}  // namespace finetuned::cli
