#include "worker/sweeper.h"

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "worker/test_support.h"

namespace finetuned {
namespace {

namespace fs = std::filesystem;

class SweeperTest : public ::testing::Test {
 protected:
  SweeperTest() : folder_(NewTempFolder()), store_(folder_) {
    // Worker and daemon have met here.
    EXPECT_TRUE(store_.WriteNonce("n", "x").ok());
    for (const char* run : {"one", "two", "kept"}) {
      for (const char* attempt : {"1", "2"}) {
        for (const char* file : {"stdout.log", "stderr.log", "metrics", "output/weights"}) {
          const fs::path path = Path(run, attempt) / file;
          fs::create_directories(path.parent_path());
          std::ofstream(path) << "x";
        }
      }
    }
  }

  fs::path Path(const std::string& run, const std::string& attempt) const {
    return fs::path(folder_) / "runs" / run / "attempts" / attempt;
  }

  static v1::SweepFilesResponse Answer(v1::SweepFilesResponse::Files files,
                                       const std::vector<std::string>& runs) {
    v1::SweepFilesResponse answer;
    answer.set_files(files);
    for (const std::string& run : runs) answer.add_artifact_paths("runs/" + run);
    return answer;
  }

  // Which files of an attempt are there.
  std::string There(const std::string& run, const std::string& attempt) const {
    std::string there;
    for (const char* file : {"stdout.log", "stderr.log", "metrics", "output/weights"}) {
      if (fs::exists(Path(run, attempt) / file)) there += std::string(file) + " ";
    }
    return there;
  }

  const std::string folder_;
  ArtifactStore store_;
};

constexpr auto kGoOn = [] { return true; };

TEST_F(SweeperTest, OnlyWhatIsNamedIsDeleted) {
  ASSERT_TRUE(
      DeleteSweptFiles(store_, Answer(v1::SweepFilesResponse::LOGS, {"one", "gone"}), kGoOn).ok());
  EXPECT_EQ(There("one", "1"), "metrics output/weights ");
  EXPECT_EQ(There("one", "2"), "metrics output/weights ");
  EXPECT_EQ(There("two", "1"), "stdout.log stderr.log metrics output/weights ");
  const auto metrics = Answer(v1::SweepFilesResponse::METRICS, {"one", "two"});
  ASSERT_TRUE(DeleteSweptFiles(store_, metrics, kGoOn).ok());
  // Again, after an answer that was lost.
  ASSERT_TRUE(DeleteSweptFiles(store_, metrics, kGoOn).ok());
  EXPECT_EQ(There("one", "2"), "output/weights ");
  EXPECT_EQ(There("two", "2"), "stdout.log stderr.log output/weights ");
  EXPECT_EQ(There("kept", "1"), "stdout.log stderr.log metrics output/weights ");
}

TEST_F(SweeperTest, NothingOutsideTheRootIsDeleted) {
  const std::string outside = NewTempFolder();
  std::ofstream(outside + "/stdout.log") << "x";
  fs::remove_all(Path("one", "1"));
  fs::create_directory_symlink(outside, Path("one", "1"));
  // What can never be deleted keeps nothing else from being deleted.
  fs::create_directory_symlink(outside, fs::path(folder_) / "runs" / "linked");
  const absl::Status linked = DeleteSweptFiles(
      store_, Answer(v1::SweepFilesResponse::LOGS, {"../x", "linked", "one", "two"}), kGoOn);
  EXPECT_TRUE(linked.ok()) << linked;
  EXPECT_TRUE(fs::exists(outside + "/stdout.log"));
  EXPECT_EQ(There("two", "1"), "metrics output/weights ");
}

TEST_F(SweeperTest, WhatCannotBeDeletedNowIsSaid) {
  const auto logs = Answer(v1::SweepFilesResponse::LOGS, {"one"});
  EXPECT_EQ(DeleteSweptFiles(store_, logs, [] { return false; }).code(),
            absl::StatusCode::kCancelled);
  EXPECT_EQ(DeleteSweptFiles(store_, Answer(static_cast<v1::SweepFilesResponse::Files>(9), {"one"}),
                             kGoOn)
                .code(),
            absl::StatusCode::kUnimplemented);
  // The mount point without the filesystem.
  fs::rename(folder_ + "/.finetuned", folder_ + "/away");
  EXPECT_EQ(DeleteSweptFiles(store_, logs, kGoOn).code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(There("one", "1"), "stdout.log stderr.log metrics output/weights ");
}

}  // namespace
}  // namespace finetuned
