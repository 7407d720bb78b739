#include "daemon/metric_reader.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"

namespace finetuned {
namespace {

class MetricReaderTest : public testing::Test {
 protected:
  MetricReaderTest() {
    std::string pattern = testing::TempDir() + "metrics-XXXXXX";
    root_ = mkdtemp(pattern.data());
    EXPECT_TRUE(ArtifactStore(root_).WriteNonce("test", "1").ok());
  }
  ~MetricReaderTest() override { std::filesystem::remove_all(root_); }

  std::string PathOf(int64_t epoch) const {
    return absl::StrCat(root_, "/runs/a/attempts/", epoch, "/metrics");
  }
  // Appends a row a step, each with the value of its attempt, and lets it be read.
  void Report(int64_t epoch, int64_t from, int64_t to, const std::string& name = "loss") {
    std::filesystem::create_directories(std::filesystem::path(PathOf(epoch)).parent_path());
    std::vector<MetricRow> rows;
    for (int64_t step = from; step <= to; ++step) {
      rows.push_back({step, 0, {{name, static_cast<double>(epoch)}}});
    }
    std::ofstream(PathOf(epoch), std::ios::app | std::ios::binary) << encoders_[epoch].Encode(rows);
    lengths_[epoch] = static_cast<int64_t>(std::filesystem::file_size(PathOf(epoch)));
  }
  MetricFiles Files() const {
    MetricFiles files;
    for (const auto& [epoch, bytes] : lengths_) files.files.push_back({epoch, bytes});
    return files;
  }
  MetricReader Open(const MetricPlace& from = {}) { return MetricReader(root_, "runs/a", from); }
  // Everything there is, as `step=attempt`, runs of steps put together, `<` where it goes back.
  std::string ReadAll(MetricReader& reader) {
    EXPECT_TRUE(reader.Update(Files()).ok());
    std::string text;
    int64_t first = 0, last = -1;
    double value = 0;
    const auto flush = [&] {
      if (last >= 0) absl::StrAppend(&text, first, "-", last, "=", value, ";");
      last = -1;
    };
    for (;;) {
      const auto more = reader.Read([&](const std::string& name, const MetricPoint& point) {
        EXPECT_FALSE(name.empty());
        if (last >= 0 && point.step == last + 1 && point.value == value) {
          last = point.step;
          return;
        }
        flush();
        first = last = point.step;
        value = point.value;
      });
      EXPECT_TRUE(more.ok()) << more.status();
      if (!more.ok() || !*more) break;
      if (const auto step = reader.TakeStepBack()) {
        const std::string shown = text;
        text = absl::StrCat(shown, "<", *step, ";");
      }
    }
    flush();
    return text;
  }

  std::string root_;
  std::map<int64_t, MetricEncoder> encoders_;
  std::map<int64_t, int64_t> lengths_;
};

TEST_F(MetricReaderTest, LeavesOutWhatWasDoneAgain) {
  Report(1, 1, 100);
  Report(2, 51, 80);
  Report(3, 76, 90);
  MetricReader reader = Open();
  EXPECT_EQ(ReadAll(reader), "1-50=1;51-75=2;76-90=3;");
  EXPECT_FALSE(reader.incomplete());
}

// An evaluation at the step where the next attempt began stays: that one did not make it again.
TEST_F(MetricReaderTest, KeepsWhatWasNotDoneAgain) {
  Report(1, 1, 50);
  Report(1, 50, 50, "eval");
  Report(1, 51, 60);
  Report(2, 50, 50, "other");
  Report(2, 51, 70);
  MetricReader reader = Open();
  EXPECT_EQ(ReadAll(reader), "1-50=1;50-50=1;<50;50-70=2;");
}

TEST_F(MetricReaderTest, SaysWhenAnAttemptThatIsFollowedGoesBack) {
  Report(1, 1, 60);
  MetricReader reader = Open();
  EXPECT_EQ(ReadAll(reader), "1-60=1;");
  EXPECT_EQ(ReadAll(reader), "");
  Report(1, 61, 70);
  EXPECT_EQ(ReadAll(reader), "61-70=1;");
  Report(2, 51, 55);
  EXPECT_EQ(ReadAll(reader), "<51;51-55=2;");
  Report(2, 56, 57);
  EXPECT_EQ(ReadAll(reader), "56-57=2;");
}

// Of a run that only goes on, an attempt that begins after the last step takes nothing back.
TEST_F(MetricReaderTest, SaysNothingWhereNothingIsTakenBack) {
  Report(1, 1, 60);
  MetricReader reader = Open();
  EXPECT_EQ(ReadAll(reader), "1-60=1;");
  Report(2, 61, 65);
  EXPECT_EQ(ReadAll(reader), "61-65=2;");
}

TEST_F(MetricReaderTest, GoesOnFromEveryPlace) {
  Report(1, 1, 40'000);
  Report(2, 30'001, 500'000);
  MetricReader whole = Open();
  std::vector<MetricPlace> places;
  std::vector<std::vector<int64_t>> rest;
  ASSERT_TRUE(whole.Update(Files()).ok());
  for (;;) {
    std::vector<int64_t> steps;
    const auto more = whole.Read(
        [&](const std::string&, const MetricPoint& point) { steps.push_back(point.step); });
    ASSERT_TRUE(more.ok()) << more.status();
    if (!*more) break;
    places.push_back(whole.place());
    rest.push_back(steps);
  }
  ASSERT_GT(places.size(), 8u);
  ASSERT_GT(places.back().reset, 0);
  for (size_t i = 0; i + 1 < places.size(); ++i) {
    MetricReader reader = Open(places[i]);
    ASSERT_TRUE(reader.Update(Files()).ok());
    std::vector<int64_t> steps;
    // The first pieces may be those that were read before.
    for (bool more = true; more && steps.empty();) {
      const auto read = reader.Read(
          [&](const std::string&, const MetricPoint& point) { steps.push_back(point.step); });
      ASSERT_TRUE(read.ok()) << read.status();
      more = *read;
    }
    // Pieces that were all done again show nothing.
    size_t next = i + 1;
    while (next + 1 < rest.size() && rest[next].empty()) ++next;
    EXPECT_EQ(steps, rest[next]) << i;
  }
}

// What stands behind the length that the daemon was told of does not count, also half a frame.
TEST_F(MetricReaderTest, ReadsNoFurtherThanItMay) {
  Report(1, 1, 10);
  const int64_t allowed = lengths_[1];
  Report(1, 11, 20);
  lengths_[1] = allowed;
  MetricReader reader = Open();
  EXPECT_EQ(ReadAll(reader), "1-10=1;");
  EXPECT_FALSE(reader.incomplete());
}

TEST_F(MetricReaderTest, GoesOnBehindWhatIsDamaged) {
  Report(1, 1, 10);
  const auto damaged_at = static_cast<std::streamoff>(lengths_[1] + 12);
  Report(1, 11, 20);
  Report(2, 21, 30);
  Report(3, 31, 40);
  {
    std::fstream file(PathOf(1), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(damaged_at);
    file.put('\x7f');
  }
  std::filesystem::remove(PathOf(2));
  MetricReader reader = Open();
  EXPECT_EQ(ReadAll(reader), "1-10=1;31-40=3;");
  EXPECT_TRUE(reader.incomplete());
  // A trainer that leads elsewhere.
  std::filesystem::create_symlink("/etc/hostname", PathOf(2));
  MetricReader again = Open();
  EXPECT_EQ(ReadAll(again), "1-10=1;31-40=3;");
  // A worker that lies about the length.
  lengths_[4] = 1 << 30;
  Report(3, 41, 42);
  EXPECT_EQ(ReadAll(reader), "41-42=3;");
}

// Everything is absent from a root that is not mounted; it is waited for.
TEST_F(MetricReaderTest, WaitsForARootThatIsAway) {
  Report(1, 1, 10);
  MetricReader reader = Open();
  std::filesystem::rename(root_, root_ + ".away");
  EXPECT_TRUE(absl::IsUnavailable(reader.Update(Files())));
  std::filesystem::create_directory(root_);
  EXPECT_TRUE(absl::IsUnavailable(reader.Update(Files())));
  EXPECT_FALSE(reader.Read([](const std::string&, const MetricPoint&) {}).ok());
  std::filesystem::remove(root_);
  std::filesystem::rename(root_ + ".away", root_);
  EXPECT_EQ(ReadAll(reader), "1-10=1;");
  EXPECT_FALSE(reader.incomplete());
}

// An attempt that shows nothing to this reader takes back all the same.
TEST_F(MetricReaderTest, SaysTheEarliestOfTwoStepsBack) {
  Report(1, 1, 100);
  MetricReader reader = Open();
  EXPECT_EQ(ReadAll(reader), "1-100=1;");
  Report(2, 51, 55);
  Report(3, 61, 65);
  ASSERT_TRUE(reader.Update(Files()).ok());
  for (bool more = true; more;) more = *reader.Read([](const std::string&, const MetricPoint&) {});
  EXPECT_EQ(reader.TakeStepBack(), 51);
}

}  // namespace
}  // namespace finetuned
