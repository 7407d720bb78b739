#include "artifacts/walk.h"

#include <stdlib.h>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "artifacts/manifest.h"
#include "base/hash.h"

namespace finetuned {
namespace {

using ::testing::ElementsAre;

class WalkTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = ::testing::TempDir() + "/walk-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    store_ = std::make_unique<ArtifactStore>(pattern);
    for (const char* path : {"run/a/one", "run/a.txt", "run/a/two/deep", "run/b", "other/c"}) {
      ASSERT_TRUE(store_->Put(path, path).ok());
    }
    options_.top = "run";
  }

  std::vector<std::string> Keys() {
    const auto entries = Walk(*store_, options_);
    EXPECT_TRUE(entries.ok()) << entries.status();
    std::vector<std::string> keys;
    if (entries.ok()) {
      for (const WalkEntry& entry : *entries) keys.push_back(WalkKey(entry));
    }
    return keys;
  }

  std::unique_ptr<ArtifactStore> store_;
  WalkOptions options_;
};

TEST_F(WalkTest, AFolderStandsWhereItsFilesWould) {
  EXPECT_THAT(Keys(), ElementsAre("a.txt", "a/", "b"));
  options_.recursive = true;
  EXPECT_THAT(Keys(), ElementsAre("a.txt", "a/one", "a/two/deep", "b"));
  options_.path = "a";
  EXPECT_THAT(Keys(), ElementsAre("a/one", "a/two/deep"));
  options_.path = "a/one";
  EXPECT_THAT(Keys(), ElementsAre("a/one"));
}

TEST_F(WalkTest, PagesOfEverySizeMakeTheWhole) {
  for (const bool recursive : {false, true}) {
    options_ = {"run", "", recursive, "", 1000};
    const std::vector<std::string> whole = Keys();
    for (options_.limit = 1; options_.limit <= 5; ++options_.limit) {
      std::vector<std::string> all;
      options_.after.clear();
      for (std::vector<std::string> page = Keys(); !page.empty(); page = Keys()) {
        all.insert(all.end(), page.begin(), page.end());
        options_.after = page.back();
      }
      EXPECT_EQ(all, whole) << options_.limit;
    }
  }
}

TEST_F(WalkTest, APageGoesOnAfterWhatIsGone) {
  options_.recursive = true;
  options_.after = "a/one";
  ASSERT_TRUE(store_->Delete("run/a/one").ok());
  EXPECT_THAT(Keys(), ElementsAre("a/two/deep", "b"));
  ASSERT_TRUE(store_->Delete("run/a").ok());
  EXPECT_THAT(Keys(), ElementsAre("b"));
}

TEST_F(WalkTest, HashesComeFromThePublishedFolder) {
  const std::string manifest = ManifestToJson(
      {{{"one", 9, Sha256Hex("1")}, {"two/deep", 14, Sha256Hex("2")}}, "staging", 1, {}});
  ASSERT_TRUE(store_->Put("run/a/manifest.json", manifest).ok());
  for (const char* path : {"", "a", "a/two", "a/two/deep"}) {
    options_ = {"run", path, true, "", 1000};
    const auto entries = Walk(*store_, options_);
    ASSERT_TRUE(entries.ok()) << entries.status();
    for (const WalkEntry& entry : *entries) {
      const std::string expected = entry.path == "a/one"             ? Sha256Hex("1")
                                   : entry.path == "a/two/deep"      ? Sha256Hex("2")
                                   : entry.path == "a/manifest.json" ? Sha256Hex(manifest)
                                                                     : "";
      EXPECT_EQ(entry.sha256, expected) << entry.path << " in " << path;
    }
  }
  // Told of what lies there, and of nothing that a broken manifest says.
  ASSERT_TRUE(store_->Put("run/a/manifest.json", "{").ok());
  options_ = {"run", "a/one", true, "", 1000};
  EXPECT_EQ((*Walk(*store_, options_))[0].sha256, "");
}

TEST_F(WalkTest, NothingLeadsOutside) {
  ASSERT_EQ(symlink("../other", (store_->root() + "/run/link").c_str()), 0);
  options_.recursive = true;
  EXPECT_THAT(Keys(), ElementsAre("a.txt", "a/one", "a/two/deep", "b"));
  for (const char* path : {"link", "../other", "/etc", "a/../b", "link/c", "."}) {
    options_.path = path;
    EXPECT_FALSE(Walk(*store_, options_).ok()) << path;
  }
  options_.path = "absent";
  EXPECT_TRUE(absl::IsNotFound(Walk(*store_, options_).status()));
}

}  // namespace
}  // namespace finetuned
