#include "artifacts/copy_folder.h"

#include <unistd.h>

#include <gtest/gtest.h>

#include "artifacts/publish.h"

namespace finetuned {
namespace {

class CopyFolderTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = ::testing::TempDir() + "/copy-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    store_ = std::make_unique<ArtifactStore>(pattern);
  }
  absl::Status Copy() {
    return CopyFolder(*store_, "from", "run/to", [this] { return ++pieces_ != stop_at_; });
  }
  std::unique_ptr<ArtifactStore> store_;
  int pieces_ = 0;
  int stop_at_ = -1;
};

TEST_F(CopyFolderTest, EveryFileIsCopiedButTheManifest) {
  const std::string large(3'000'001, 'w');
  ASSERT_TRUE(store_->Put("from/weights", large).ok());
  ASSERT_TRUE(store_->Put("from/inner/deeper/config.json", "{}").ok());
  ASSERT_TRUE(store_->Put("from/inner/manifest.json", "a file like any other").ok());
  ASSERT_TRUE(store_->Put("from/empty", "").ok());
  ASSERT_TRUE(store_->Put("from/manifest.json", "of the folder").ok());
  ASSERT_TRUE(store_->Put("run/to/left-by-a-crash", "half").ok());
  ASSERT_TRUE(Copy().ok());
  const auto files = HashAndSyncTree(store_->root(), "run/to");
  ASSERT_TRUE(files.ok()) << files.status();
  std::vector<std::string> paths;
  for (const Manifest::File& file : *files) paths.push_back(file.path);
  EXPECT_EQ(paths, (std::vector<std::string>{"empty", "inner/deeper/config.json",
                                             "inner/manifest.json", "weights"}));
  EXPECT_EQ(*store_->Get("run/to/weights", 4'000'000), large);
  EXPECT_EQ(*store_->Get("from/weights", 4'000'000), large);
}

TEST_F(CopyFolderTest, AnAbsentFolderALinkAndAWordToStopEndIt) {
  EXPECT_TRUE(absl::IsNotFound(Copy()));
  ASSERT_TRUE(store_->Put("from/weights", std::string(5 << 20, 'w')).ok());
  stop_at_ = 3;
  EXPECT_TRUE(absl::IsCancelled(Copy()));
  stop_at_ = -1;
  ASSERT_EQ(symlink("/etc/passwd", (store_->root() + "/from/passwd").c_str()), 0);
  EXPECT_TRUE(absl::IsInvalidArgument(Copy()));
}

}  // namespace
}  // namespace finetuned
