#include "worker/log_bound.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "absl/strings/str_format.h"
#include "worker/test_support.h"

namespace finetuned {
namespace {

constexpr int64_t kMax = 1 << 20;

class LogBoundTest : public testing::Test {
 protected:
  LogBoundTest() : folder_(NewTempFolder()), store_(folder_) {
    std::filesystem::create_directories(folder_ + "/a");
  }
  ~LogBoundTest() override { std::filesystem::remove_all(folder_); }

  // Lines with the place where they begin.
  void Write(int64_t bytes) {
    std::ofstream log(folder_ + "/a/stderr.log", std::ios::app);
    for (int64_t end = written_ + bytes; written_ < end; written_ += 16) {
      log << absl::StrFormat("%015d\n", written_);
    }
  }
  LogBound Make() { return LogBound(&store_, "a", {kMax, absl::Seconds(10)}); }

  const std::string folder_;
  const ArtifactStore store_;
  int64_t written_ = 0;
};

TEST_F(LogBoundTest, OneThatIsTooLargeKeepsItsBeginningAndItsEnd) {
  LogBound bound = Make();
  bound.Check(absl::Seconds(1));  // There is no log yet.
  Write(kMax / 2);
  bound.Check(absl::Seconds(20));
  EXPECT_EQ(store_.ReadKept("a/stderr.log", kMax / 3, 16)->offset, kMax / 3);
  for (int i = 0; i < 20; ++i) {
    Write(kMax / 4);
    bound.Check(absl::Seconds(40 + 10 * i));
  }
  const auto size = static_cast<int64_t>(std::filesystem::file_size(folder_ + "/a/stderr.log"));
  EXPECT_EQ(size, written_);
  // Read as a caller does: every line that is there is where it was, and a hole is told.
  int64_t kept = 0;
  int64_t dropped = 0;
  int holes = 0;
  for (int64_t at = 0; at < size;) {
    const auto piece = store_.ReadKept("a/stderr.log", at, 64 << 10);
    ASSERT_TRUE(piece.ok()) << piece.status();
    if (piece->offset > at) ++holes;
    dropped += piece->offset - at;
    ASSERT_EQ(piece->offset % 16, 0);
    for (size_t i = 0; i + 16 <= piece->data.size(); i += 16) {
      ASSERT_EQ(std::stoll(piece->data.substr(i, 15)), piece->offset + static_cast<int64_t>(i));
    }
    kept += static_cast<int64_t>(piece->data.size());
    at = piece->offset + static_cast<int64_t>(piece->data.size());
  }
  EXPECT_EQ(holes, 1);
  EXPECT_EQ(kept + dropped, size);
  EXPECT_LE(kept, kMax + kMax / 4);
  EXPECT_GE(kept, kMax / 2);
  EXPECT_EQ(store_.ReadKept("a/stderr.log", 0, 16)->offset, 0);
}

TEST_F(LogBoundTest, IsLookedAtNowAndThen) {
  LogBound bound = Make();
  bound.Check(absl::Seconds(1));
  Write(4 * kMax);
  bound.Check(absl::Seconds(10));
  EXPECT_EQ(store_.ReadKept("a/stderr.log", kMax, 16)->offset, kMax);
  bound.Check(absl::Seconds(11));
  EXPECT_GT(store_.ReadKept("a/stderr.log", kMax, 16)->offset, kMax);
}

// A trainer that puts something else there gains nothing.
TEST_F(LogBoundTest, ALinkIsNotFollowed) {
  Write(4 * kMax);
  std::filesystem::rename(folder_ + "/a/stderr.log", folder_ + "/elsewhere");
  std::filesystem::create_symlink(folder_ + "/elsewhere", folder_ + "/a/stderr.log");
  LogBound bound = Make();
  bound.Check(absl::Seconds(1));
  EXPECT_EQ(store_.ReadKept("elsewhere", kMax, 16)->offset, kMax);
}

}  // namespace
}  // namespace finetuned
