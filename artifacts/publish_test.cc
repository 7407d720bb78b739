#include "artifacts/publish.h"

#include <sys/stat.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "base/file.h"
#include "base/hash.h"

namespace finetuned {
namespace {

class PublishTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = ::testing::TempDir() + "/publish-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    store_ = std::make_unique<ArtifactStore>(pattern);
  }
  void Stage(const std::string& staging, const std::string& content) {
    ASSERT_TRUE(store_->Put(staging + "/weights", content).ok());
    ASSERT_TRUE(store_->Put(staging + "/state/optimizer", "state").ok());
  }
  PublishRequest Request(const std::string& staging, int64_t epoch) {
    PublishRequest request;
    request.staging = staging;
    request.target = "run/checkpoints/ep1-ba5";
    request.epoch = epoch;
    return request;
  }
  std::unique_ptr<ArtifactStore> store_;
};

TEST_F(PublishTest, APublishedFolderHasAManifestOfEveryFile) {
  Stage("run/attempts/1/ep1-ba5", "w1");
  const auto published = PublishFolder(*store_, Request("run/attempts/1/ep1-ba5", 1));
  ASSERT_TRUE(published.ok()) << published.status();
  const std::string text = *store_->Get("run/checkpoints/ep1-ba5/manifest.json", 1 << 20);
  EXPECT_EQ(published->manifest_sha256, Sha256Hex(text));
  ASSERT_EQ(published->manifest.files.size(), 2u);
  EXPECT_EQ(published->manifest.files[0].path, "state/optimizer");
  EXPECT_EQ(published->manifest.files[1].path, "weights");
  EXPECT_EQ(published->manifest.files[1].sha256, Sha256Hex("w1"));
  EXPECT_EQ(published->manifest.SizeBytes(), 7);
  EXPECT_EQ(ManifestToJson(*ManifestFromJson(text)), text);
  EXPECT_TRUE(absl::IsNotFound(store_->Head("run/attempts/1/ep1-ba5").status()));
}

TEST_F(PublishTest, RepeatingItAfterTheRenameGivesTheSame) {
  Stage("s1/ep1-ba5", "w1");
  const auto first = PublishFolder(*store_, Request("s1/ep1-ba5", 1));
  const auto again = PublishFolder(*store_, Request("s1/ep1-ba5", 1));
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->manifest_sha256, first->manifest_sha256);
  // What another attempt published is not taken for this one's.
  EXPECT_TRUE(absl::IsNotFound(PublishFolder(*store_, Request("s2/ep1-ba5", 2)).status()));
}

TEST_F(PublishTest, ADamagedPublishedFolderIsNotConfirmed) {
  Stage("s1/ep1-ba5", "w1");
  ASSERT_TRUE(PublishFolder(*store_, Request("s1/ep1-ba5", 1)).ok());
  ASSERT_TRUE(store_->Put("run/checkpoints/ep1-ba5/weights", "xx").ok());
  EXPECT_TRUE(absl::IsDataLoss(PublishFolder(*store_, Request("s1/ep1-ba5", 1)).status()));
}

TEST_F(PublishTest, OnlyWhatTheManifestHasIsVerified) {
  Stage("s1/ep1-ba5", "w1");
  const auto published = PublishFolder(*store_, Request("s1/ep1-ba5", 1));
  ASSERT_TRUE(published.ok());
  const std::string target = "run/checkpoints/ep1-ba5";
  const auto verify = [&](bool go_on = true) {
    return VerifyPublished(*store_, target, published->manifest, [=] { return go_on; });
  };
  EXPECT_TRUE(verify().ok());
  EXPECT_TRUE(absl::IsCancelled(verify(false)));
  // Somebody's notes, and a link.
  ASSERT_TRUE(store_->Put(target + "/notes.txt", "the best so far").ok());
  ASSERT_EQ(symlink("/etc", (store_->root() + "/" + target + "/link").c_str()), 0);
  EXPECT_TRUE(verify().ok());
  ASSERT_TRUE(store_->Put(target + "/weights", "w2").ok());
  EXPECT_TRUE(absl::IsDataLoss(verify()));
  ASSERT_TRUE(store_->Put(target + "/weights", "w1 and more").ok());
  EXPECT_TRUE(absl::IsDataLoss(verify()));
  ASSERT_TRUE(store_->Delete(target + "/weights").ok());
  EXPECT_TRUE(absl::IsDataLoss(verify()));
  ASSERT_EQ(symlink("/etc/passwd", (store_->root() + "/" + target + "/weights").c_str()), 0);
  EXPECT_TRUE(absl::IsDataLoss(verify()));
}

TEST_F(PublishTest, ALaterAttemptReplacesAnEarlierOneAndNeverTheOtherWayRound) {
  Stage("s1/ep1-ba5", "w1");
  Stage("s2/ep1-ba5", "w2");
  Stage("s0/ep1-ba5", "w0");
  ASSERT_TRUE(PublishFolder(*store_, Request("s1/ep1-ba5", 1)).ok());
  ASSERT_TRUE(PublishFolder(*store_, Request("s2/ep1-ba5", 2)).ok());
  EXPECT_TRUE(
      absl::IsFailedPrecondition(PublishFolder(*store_, Request("s0/ep1-ba5", 1)).status()));
  EXPECT_EQ(*store_->Get("run/checkpoints/ep1-ba5/weights", 10), "w2");
  EXPECT_EQ(store_->List("run/checkpoints")->size(), 1u);
}

TEST_F(PublishTest, ACrashBetweenTheRenamesIsHealedByRepeating) {
  Stage("s1/ep1-ba5", "w1");
  ASSERT_TRUE(PublishFolder(*store_, Request("s1/ep1-ba5", 1)).ok());
  // As it is found when the agent died after it had moved the older folder aside.
  const std::string folder = store_->Absolute("run/checkpoints");
  ASSERT_EQ(rename((folder + "/ep1-ba5").c_str(), (folder + "/.replaced-ep1-ba5").c_str()), 0);
  Stage("s2/ep1-ba5", "w2");
  ASSERT_TRUE(PublishFolder(*store_, Request("s2/ep1-ba5", 2)).ok());
  EXPECT_EQ(*store_->Get("run/checkpoints/ep1-ba5/weights", 10), "w2");
  EXPECT_EQ(store_->List("run/checkpoints")->size(), 1u);
}

TEST_F(PublishTest, WithoutTheLeaseNothingIsMoved) {
  Stage("s1/ep1-ba5", "w1");
  PublishRequest request = Request("s1/ep1-ba5", 1);
  request.may_publish = [] { return false; };
  EXPECT_TRUE(absl::IsFailedPrecondition(PublishFolder(*store_, request).status()));
  EXPECT_TRUE(absl::IsNotFound(store_->Head("run/checkpoints/ep1-ba5").status()));
  EXPECT_TRUE(store_->Head("s1/ep1-ba5/weights").ok());
}

TEST_F(PublishTest, ALinkInTheTreeIsRefused) {
  Stage("s1/ep1-ba5", "w1");
  ASSERT_EQ(symlink("/etc/passwd", store_->Absolute("s1/ep1-ba5/state/link").c_str()), 0);
  EXPECT_TRUE(absl::IsInvalidArgument(PublishFolder(*store_, Request("s1/ep1-ba5", 1)).status()));
}

}  // namespace
}  // namespace finetuned
