#include "worker/publisher.h"

#include <gtest/gtest.h>

#include "absl/strings/match.h"

#include "worker/test_support.h"

namespace finetuned {
namespace {

class PublisherTest : public ::testing::Test {
 protected:
  PublisherTest() : store_(NewTempFolder()), publisher_(store_) {
    lease_.mutable_attempt()->set_run_id(7);
    lease_.mutable_attempt()->set_epoch(2);
    lease_.set_artifact_path("runs/7");
    lease_.set_checkpoints_path("runs/7/checkpoints");
    lease_.mutable_spec()->set_save_num_to_keep(2);
    // As an agent that has opened its session.
    EXPECT_TRUE(store_.WriteNonce("n", "secret").ok());
    EXPECT_TRUE(store_.DeleteNonce("n").ok());
  }
  CheckpointLine Stage(int batch) {
    CheckpointLine line;
    line.name = "ep1-ba" + std::to_string(batch);
    line.huggingface = "huggingface/ba" + std::to_string(batch);
    line.step = batch;
    const std::string staging = Publisher::StagingPath(lease_) + "/";
    EXPECT_TRUE(store_.Put(staging + line.name + "/state", "12345").ok());
    EXPECT_TRUE(store_.Put(staging + line.huggingface + "/model", "123").ok());
    return line;
  }
  const ArtifactStore store_;
  const Publisher publisher_;
  v1::Lease lease_;
  const std::function<bool()> yes_ = [] { return true; };
};

TEST_F(PublisherTest, BothFoldersAreMovedAndThePointerNamesTheNewest) {
  const auto event = publisher_.Publish(lease_, Stage(50), yes_);
  ASSERT_TRUE(event.ok()) << event.status();
  const v1::Checkpoint& checkpoint = event->checkpoint();
  EXPECT_EQ(event->type(), v1::RunEvent::CHECKPOINT_SAVED);
  EXPECT_EQ(checkpoint.name(), "ep1-ba50");
  EXPECT_EQ(checkpoint.path(), "runs/7/checkpoints/ep1-ba50");
  EXPECT_EQ(checkpoint.huggingface_path(), "runs/7/checkpoints/huggingface/ba50");
  EXPECT_EQ(checkpoint.size_bytes(), 8);
  EXPECT_EQ(checkpoint.step(), 50);
  EXPECT_EQ(checkpoint.attempt(), 2);
  EXPECT_EQ(checkpoint.manifest_sha256().size(), 64u);
  EXPECT_EQ(*store_.Get(checkpoint.huggingface_path() + "/model", 10), "123");
  EXPECT_EQ(*store_.Get("runs/7/checkpoints/latest-sharded-rank0.symlink", 100), "ep1-ba50");
}

TEST_F(PublisherTest, RepeatingItAfterACrashGivesTheSameEvent) {
  const CheckpointLine line = Stage(50);
  const auto first = publisher_.Publish(lease_, line, yes_);
  const auto again = publisher_.Publish(lease_, line, yes_);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->SerializeAsString(), first->SerializeAsString());
}

TEST_F(PublisherTest, ANameThatIsNotACheckpointsIsRefused) {
  CheckpointLine line = Stage(50);
  for (const char* name : {"", "..", ".x", "a/b", "huggingface", "latest-sharded-rank0.symlink"}) {
    line.name = name;
    EXPECT_TRUE(absl::IsInvalidArgument(publisher_.Publish(lease_, line, yes_).status())) << name;
  }
  line.name = "ep1-ba50";
  for (const char* name : {"ba50", "huggingface/", "huggingface/../x", "huggingface/a/b", "/etc"}) {
    line.huggingface = name;
    EXPECT_TRUE(absl::IsInvalidArgument(publisher_.Publish(lease_, line, yes_).status())) << name;
  }
}

// Of a file server that is gone the mount point is left, and a trainer makes its folders there.
TEST_F(PublisherTest, NothingIsPublishedIntoAnEmptyMountPoint) {
  lease_.set_register_path("models/a.b.c/r7");
  const CheckpointLine line = Stage(50);
  ASSERT_TRUE(store_.Delete(".finetuned").ok());
  const absl::Status status = publisher_.Publish(lease_, line, yes_).status();
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "is it mounted?")) << status;
  EXPECT_TRUE(absl::IsNotFound(store_.Head("runs/7/checkpoints").status()));
  EXPECT_TRUE(absl::IsUnavailable(publisher_.Register(lease_, "ep1-ba50", yes_, yes_).status()));
  ASSERT_TRUE(store_.WriteNonce("n", "secret").ok());
  EXPECT_TRUE(publisher_.Publish(lease_, line, yes_).ok());
}

TEST_F(PublisherTest, WeightsAreRegisteredOnceHoweverOftenItIsAsked) {
  lease_.set_register_path("models/a.b.c/r7");
  const auto saved = publisher_.Publish(lease_, Stage(50), yes_);
  ASSERT_TRUE(saved.ok());
  // What a crash has left of an earlier try.
  ASSERT_TRUE(store_.Put("runs/7/attempts/2/register/half", "h").ok());
  const auto files = publisher_.Register(lease_, "ep1-ba50", yes_, yes_);
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_EQ(files->checkpoint(), "ep1-ba50");
  EXPECT_EQ(files->size_bytes(), 3);
  EXPECT_EQ(*store_.Get("models/a.b.c/r7/model", 10), "123");
  EXPECT_TRUE(absl::IsNotFound(store_.Head("models/a.b.c/r7/half").status()));
  const auto again = publisher_.Register(lease_, "ep1-ba50", yes_, yes_);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->SerializeAsString(), files->SerializeAsString());
  // Apart from the checkpoint.
  ASSERT_TRUE(store_.Delete(saved->checkpoint().huggingface_path()).ok());
  EXPECT_EQ(*store_.Get("models/a.b.c/r7/model", 10), "123");
}

TEST_F(PublisherTest, DamagedWeightsAndACheckpointWithoutAnyAreNotRegistered) {
  lease_.set_register_path("models/a.b.c/r7");
  const auto saved = publisher_.Publish(lease_, Stage(50), yes_);
  ASSERT_TRUE(saved.ok());
  ASSERT_TRUE(store_.Put(saved->checkpoint().huggingface_path() + "/model", "12x").ok());
  EXPECT_TRUE(absl::IsDataLoss(publisher_.Register(lease_, "ep1-ba50", yes_, yes_).status()));
  EXPECT_TRUE(absl::IsNotFound(store_.Head("models/a.b.c/r7").status()));
  CheckpointLine bare = Stage(60);
  bare.huggingface.clear();
  ASSERT_TRUE(publisher_.Publish(lease_, bare, yes_).ok());
  EXPECT_TRUE(
      absl::IsInvalidArgument(publisher_.Register(lease_, "ep1-ba60", yes_, yes_).status()));
  EXPECT_TRUE(absl::IsNotFound(publisher_.Register(lease_, "ep1-ba70", yes_, yes_).status()));
}

TEST_F(PublisherTest, ACopyThatIsNotFinishedLeavesNothing) {
  lease_.set_register_path("models/a.b.c/r7");
  const auto no = [] { return false; };
  ASSERT_TRUE(publisher_.Publish(lease_, Stage(50), yes_).ok());
  // What an attempt before was copying when it was lost.
  ASSERT_TRUE(store_.Put("runs/7/attempts/1/register/model", "large").ok());
  EXPECT_TRUE(absl::IsCancelled(publisher_.Register(lease_, "ep1-ba50", no, yes_).status()));
  EXPECT_TRUE(
      absl::IsFailedPrecondition(publisher_.Register(lease_, "ep1-ba50", yes_, no).status()));
  for (const char* path :
       {"runs/7/attempts/1/register", "runs/7/attempts/2/register", "models/a.b.c/r7"}) {
    EXPECT_TRUE(absl::IsNotFound(store_.Head(path).status())) << path;
  }
}

TEST_F(PublisherTest, OnlyTheNewestOfThisRunAreKept) {
  for (const int batch : {9, 10, 50, 100}) {
    ASSERT_TRUE(publisher_.Publish(lease_, Stage(batch), yes_).ok());
  }
  // Another run's, and one that nobody published, in the same folder.
  ASSERT_TRUE(store_
                  .Put("runs/7/checkpoints/ep0-ba1/manifest.json",
                       R"({"files":[],"source":"runs/8/attempts/1/checkpoints/ep0-ba1"})")
                  .ok());
  ASSERT_TRUE(store_.Put("runs/7/checkpoints/ep0-ba2/x", "x").ok());
  ASSERT_TRUE(publisher_.Prune(lease_, 50).ok());
  EXPECT_TRUE(store_.Head("runs/7/checkpoints/ep1-ba100").ok()) << "not acknowledged yet";
  EXPECT_TRUE(store_.Head("runs/7/checkpoints/ep1-ba50").ok());
  EXPECT_TRUE(store_.Head("runs/7/checkpoints/ep1-ba10").ok());
  EXPECT_TRUE(absl::IsNotFound(store_.Head("runs/7/checkpoints/ep1-ba9").status()));
  EXPECT_TRUE(absl::IsNotFound(store_.Head("runs/7/checkpoints/huggingface/ba9").status()));
  EXPECT_TRUE(store_.Head("runs/7/checkpoints/ep0-ba1").ok());
  EXPECT_TRUE(store_.Head("runs/7/checkpoints/ep0-ba2").ok());
  lease_.mutable_spec()->set_save_num_to_keep(-1);
  ASSERT_TRUE(publisher_.Prune(lease_, 100).ok());
  EXPECT_TRUE(store_.Head("runs/7/checkpoints/ep1-ba10").ok());
}

TEST_F(PublisherTest, WhatAnEarlierAttemptCouldNotReportCountsForNothing) {
  // Saved by the attempt before, of which only the first two are listed.
  v1::Lease before = lease_;
  before.mutable_attempt()->set_epoch(1);
  const v1::Lease current = std::exchange(lease_, before);
  for (const int batch : {10, 20, 35}) {
    ASSERT_TRUE(publisher_.Publish(lease_, Stage(batch), yes_).ok());
  }
  lease_ = current;
  lease_.mutable_spec()->set_save_num_to_keep(3);
  lease_.set_resume_from("runs/7/checkpoints/ep1-ba20");
  const auto is_there = [&](int batch) {
    return store_.Head("runs/7/checkpoints/ep1-ba" + std::to_string(batch)).ok();
  };
  ASSERT_TRUE(publisher_.Publish(lease_, Stage(30), yes_).ok());
  // A daemon of the version before does not say what is listed: nothing of other attempts goes.
  ASSERT_TRUE(publisher_.Prune(lease_, 30).ok());
  EXPECT_TRUE(is_there(10) && is_there(20) && is_there(30) && is_there(35));
  lease_.add_checkpoints("ep1-ba20");
  lease_.add_checkpoints("ep1-ba10");
  ASSERT_TRUE(publisher_.Prune(lease_, 30).ok());
  EXPECT_TRUE(is_there(10) && is_there(20) && is_there(30));
  EXPECT_FALSE(is_there(35));
  ASSERT_TRUE(publisher_.Publish(lease_, Stage(40), yes_).ok());
  ASSERT_TRUE(publisher_.Prune(lease_, 40).ok());
  EXPECT_FALSE(is_there(10));
  EXPECT_TRUE(is_there(20) && is_there(30) && is_there(40));
}

TEST(BatchOfCheckpoint, ReadsOnlyWholeNames) {
  EXPECT_EQ(BatchOfCheckpoint("ep1-ba50"), 50);
  EXPECT_EQ(BatchOfCheckpoint("ep1-ba50x"), -1);
  EXPECT_EQ(BatchOfCheckpoint("huggingface"), -1);
}

}  // namespace
}  // namespace finetuned
