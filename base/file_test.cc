#include "base/file.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include <gtest/gtest.h>

namespace finetuned {
namespace {

class FileTest : public ::testing::Test {
 protected:
  FileTest() {
    std::string pattern = ::testing::TempDir() + "/file_test.XXXXXX";
    root_ = mkdtemp(pattern.data());
  }
  ~FileTest() override { std::filesystem::remove_all(root_); }
  std::string root_;
};

TEST_F(FileTest, AnAtomicWriteReplacesTheContentAndLeavesNothingBeside) {
  const std::string path = root_ + "/f";
  ASSERT_TRUE(WriteFileAtomically(path, "one", 0600).ok());
  ASSERT_TRUE(WriteFileAtomically(path, "two", 0600).ok());
  EXPECT_EQ(*ReadFile(path), "two");
  struct stat info;
  ASSERT_EQ(stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(root_), {}), 1);
}

TEST_F(FileTest, AFileOverTheLimitIsRefused) {
  ASSERT_TRUE(WriteFileAtomically(root_ + "/f", "12345").ok());
  EXPECT_EQ(ReadFile(root_ + "/f", 5)->size(), 5u);
  EXPECT_EQ(ReadFile(root_ + "/f", 4).status().code(), absl::StatusCode::kOutOfRange);
}

TEST_F(FileTest, ErrorsNameThePathAndTheCause) {
  const absl::Status status = ReadFile(root_ + "/absent").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_NE(status.ToString().find(root_ + "/absent: No such file"), std::string::npos);
  EXPECT_EQ(WriteFileAtomically(root_ + "/absent/f", "x").code(), absl::StatusCode::kNotFound);
}

TEST_F(FileTest, FoldersAreMadeWithThoseAboveAndAgain) {
  EXPECT_TRUE(MakeDirectories(root_ + "/a/b/c").ok());
  EXPECT_TRUE(MakeDirectories(root_ + "/a/b/c").ok());
  EXPECT_TRUE(FileExists(root_ + "/a/b/c"));
}

}  // namespace
}  // namespace finetuned
