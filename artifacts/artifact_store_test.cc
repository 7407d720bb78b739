#include "artifacts/artifact_store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "artifacts/beneath.h"
#include "base/file.h"

namespace finetuned {
namespace {

class ArtifactStoreTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = ::testing::TempDir() + "/store-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    base_ = pattern;
    ASSERT_EQ(mkdir((base_ + "/root").c_str(), 0755), 0);
    ASSERT_TRUE(WriteFileAtomically(base_ + "/secret", "outside").ok());
    store_ = std::make_unique<ArtifactStore>(base_ + "/root");
  }
  std::string base_;
  std::unique_ptr<ArtifactStore> store_;
};

TEST_F(ArtifactStoreTest, WhatIsPutIsGotListedHeadedAndDeleted) {
  ASSERT_TRUE(store_->Put("a/b/file", "hello").ok());
  EXPECT_EQ(*store_->Get("a/b/file", 100), "hello");
  ASSERT_TRUE(store_->Put("a/b/file", "again").ok());
  EXPECT_EQ(*store_->Get("a/b/file", 5), "again");
  EXPECT_TRUE(absl::IsOutOfRange(store_->Get("a/b/file", 4).status()));
  EXPECT_EQ(store_->Head("a/b/file")->size_bytes, 5);
  EXPECT_TRUE(store_->Head("a/b")->is_folder);
  ASSERT_TRUE(store_->MakeFolder("a/b/c/d").ok());
  const auto entries = store_->List("a/b");
  ASSERT_TRUE(entries.ok());
  ASSERT_EQ(entries->size(), 2u);
  EXPECT_EQ((*entries)[0].name, "c");
  EXPECT_EQ((*entries)[1].name, "file");
  ASSERT_TRUE(store_->Delete("a").ok());
  EXPECT_TRUE(absl::IsNotFound(store_->Head("a").status()));
  EXPECT_TRUE(store_->Delete("a").ok());
  EXPECT_TRUE(absl::IsNotFound(store_->Get("a/b/file", 100).status()));
}

TEST_F(ArtifactStoreTest, ARangeEndsAtTheEndOfTheFile) {
  ASSERT_TRUE(store_->Put("log", "0123456789").ok());
  EXPECT_EQ(store_->ReadRange("log", 3, 4)->data, "3456");
  EXPECT_EQ(store_->ReadRange("log", 8, 100)->data, "89");
  EXPECT_EQ(store_->ReadRange("log", 10, 1)->data, "");
  EXPECT_EQ(store_->ReadRange("log", 99, 1)->data, "");
  EXPECT_EQ(store_->ReadRange("log", 99, 1)->size_bytes, 10);
  EXPECT_TRUE(absl::IsInvalidArgument(store_->ReadRange("log", -1, 1).status()));
}

TEST_F(ArtifactStoreTest, NoPathLeavesTheRoot) {
  ASSERT_TRUE(store_->MakeFolder("folder").ok());
  ASSERT_EQ(symlink("..", (base_ + "/root/up").c_str()), 0);
  ASSERT_EQ(symlink("../secret", (base_ + "/root/link").c_str()), 0);
  ASSERT_EQ(symlink("folder", (base_ + "/root/inner").c_str()), 0);
  const std::string long_name(300, 'x');
  const std::string paths[] = {"../secret",
                               "folder/../../secret",
                               "/etc/passwd",
                               "up/secret",
                               "link",
                               "inner/x",
                               "folder//x",
                               "folder/./x",
                               ".",
                               "..",
                               "folder/",
                               std::string("a\0b", 3),
                               "a\nb",
                               long_name,
                               std::string(2000, 'a')};
  for (const std::string& path : paths) {
    EXPECT_TRUE(absl::IsInvalidArgument(store_->Get(path, 100).status())) << path;
    EXPECT_FALSE(store_->List(path).ok()) << path;
    if (path != "link") {
      EXPECT_TRUE(absl::IsInvalidArgument(store_->Put(path, "x"))) << path;
    }
  }
  // A link in the last place is replaced or deleted itself, never followed.
  EXPECT_TRUE(store_->Put("link", "inside").ok());
  EXPECT_TRUE(store_->Delete("up").ok());
  EXPECT_TRUE(absl::IsInvalidArgument(store_->Delete("")));
  EXPECT_EQ(*ReadFile(base_ + "/secret"), "outside");
}

TEST_F(ArtifactStoreTest, DeletingAFolderDoesNotFollowLinksInIt) {
  ASSERT_TRUE(store_->MakeFolder("folder").ok());
  ASSERT_EQ(symlink(base_.c_str(), (base_ + "/root/folder/out").c_str()), 0);
  ASSERT_TRUE(store_->Delete("folder").ok());
  EXPECT_EQ(*ReadFile(base_ + "/secret"), "outside");
}

// What a trainer leaves in its folder must never be more than its worker can delete.
TEST_F(ArtifactStoreTest, AFolderIsDeletedHoweverDeepAndHoweverProtected) {
  ASSERT_TRUE(store_->MakeFolder("deep").ok());
  int folder = open((base_ + "/root/deep").c_str(), O_RDONLY | O_DIRECTORY);
  for (int depth = 0; depth < 3 * kMaxFolderDepth; ++depth) {
    ASSERT_EQ(mkdirat(folder, "d", 0755), 0);
    close(openat(folder, "file", O_WRONLY | O_CREAT, 0600));
    const int next = openat(folder, "d", O_RDONLY | O_DIRECTORY);
    ASSERT_GE(next, 0);
    close(folder);
    folder = next;
  }
  close(folder);
  for (const char* name : {"read-only", "closed"}) {
    const std::string path = base_ + "/root/deep/" + name;
    ASSERT_TRUE(store_->Put(std::string("deep/") + name + "/file", "x").ok());
    ASSERT_EQ(chmod(path.c_str(), std::string(name) == "closed" ? 0 : 0555), 0);
  }
  ASSERT_TRUE(store_->Delete("deep").ok());
  EXPECT_TRUE(store_->List("")->empty()) << store_->List("")->front().name;
}

TEST_F(ArtifactStoreTest, AFifoIsRefusedAndDoesNotBlock) {
  ASSERT_EQ(mkfifo((base_ + "/root/fifo").c_str(), 0644), 0);
  EXPECT_TRUE(absl::IsInvalidArgument(store_->Get("fifo", 10).status()));
}

TEST_F(ArtifactStoreTest, ARootThatNoNonceWasWrittenToIsNotMounted) {
  EXPECT_TRUE(absl::IsUnavailable(store_->CheckMounted()));
  ASSERT_TRUE(store_->WriteNonce("n-1", "secret").ok());
  ASSERT_TRUE(store_->DeleteNonce("n-1").ok());
  EXPECT_TRUE(store_->CheckMounted().ok());
  EXPECT_TRUE(absl::IsUnavailable(ArtifactStore("/nowhere").CheckMounted()));
  // Another folder that has one, too, is not the one that was confirmed.
  store_->ConfirmRoot();
  EXPECT_TRUE(store_->CheckMounted().ok());
  const std::string mounted = store_->root() + "-mounted";
  ASSERT_EQ(rename(store_->root().c_str(), mounted.c_str()), 0);
  ASSERT_EQ(mkdir(store_->root().c_str(), 0755), 0);
  ASSERT_TRUE(store_->WriteNonce("n-2", "secret").ok());
  EXPECT_TRUE(absl::IsUnavailable(store_->CheckMounted()));
  ASSERT_TRUE(store_->Delete(".finetuned").ok());
  ASSERT_EQ(rmdir(store_->root().c_str()), 0);
  ASSERT_EQ(rename(mounted.c_str(), store_->root().c_str()), 0);
  EXPECT_TRUE(store_->CheckMounted().ok());
}

TEST_F(ArtifactStoreTest, ANonceIsReadBackAndItsNameCannotBeAPath) {
  ASSERT_TRUE(store_->WriteNonce("n-1_a", "secret").ok());
  EXPECT_EQ(*store_->ReadNonce("n-1_a"), "secret");
  EXPECT_EQ(*store_->Get(".finetuned/nonces/n-1_a", 10), "secret");
  ASSERT_TRUE(store_->DeleteNonce("n-1_a").ok());
  EXPECT_TRUE(absl::IsNotFound(store_->ReadNonce("n-1_a").status()));
  for (const char* name : {"", "..", "a/b", ".x", "-x"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(store_->ReadNonce(name).status())) << name;
  }
}

TEST_F(ArtifactStoreTest, ThePointerIsATextFileWithARelativePath) {
  ASSERT_TRUE(store_->WritePointer("checkpoints", "ep1-ba50").ok());
  ASSERT_TRUE(store_->WritePointer("checkpoints", "ep1-ba60").ok());
  EXPECT_EQ(*store_->Get("checkpoints/latest-sharded-rank0.symlink", 100), "ep1-ba60");
  EXPECT_EQ(store_->List("checkpoints")->size(), 1u);
  EXPECT_TRUE(absl::IsInvalidArgument(store_->WritePointer("checkpoints", "../x")));
}

}  // namespace
}  // namespace finetuned
