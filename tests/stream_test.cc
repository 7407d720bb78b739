// What users follow: events as a stream, and logs in pieces.

#include <thread>

#include "tests/lifecycle.h"

namespace finetuned {
namespace {

using StreamTest = LifecycleTest;

TEST_F(StreamTest, AStreamHasEveryEventOnceAndEndsAfterTheLast) {
  const v1::AttemptRef attempt = StartRun();
  v1::WatchEventsRequest request;
  request.set_name(name_);
  const auto context = user_.Context();
  auto stream = user_.runs().WatchEvents(context.get(), request);
  constexpr int kUpdates = 1200;
  std::thread reporter([&] {
    v1::RunEvent updated = EventOfType(v1::RunEvent::TRAIN_UPDATED);
    updated.mutable_progress()->set_batch(1);
    for (int i = 0; i < kUpdates; i += 40) {
      EXPECT_TRUE(worker_.Report(attempt, i + 1, std::vector<v1::RunEvent>(40, updated)).ok());
    }
    EXPECT_TRUE(
        worker_.Report(attempt, kUpdates + 1, {EventOfType(v1::RunEvent::TRAIN_FINISHED)}).ok());
    EXPECT_TRUE(worker_.Complete(attempt, Exit(0, true), kUpdates + 1).ok());
  });
  int64_t seq = 0;
  v1::WatchEventsResponse message, last;
  while (stream->Read(&message)) {
    for (const auto& event : message.events()) EXPECT_EQ(event.seq(), ++seq);
    EXPECT_EQ(message.bookmark_seq(), seq);
    last = message;
  }
  reporter.join();
  const grpc::Status status = stream->Finish();
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(seq, kUpdates + 3);
  EXPECT_EQ(last.run().state(), v1::Run::COMPLETED);
  // From a number on, the rest and nothing else.
  request.set_after_seq(seq - 1);
  const auto again = user_.Context();
  auto rest = user_.runs().WatchEvents(again.get(), request);
  ASSERT_TRUE(rest->Read(&message));
  ASSERT_EQ(message.events_size(), 1);
  EXPECT_EQ(message.events(0).type(), v1::RunEvent::COMPLETED);
  EXPECT_FALSE(rest->Read(&message));
  EXPECT_TRUE(rest->Finish().ok());
}

// Callers who leave while their stream is being opened must not use up what they may have open.
TEST_F(StreamTest, AStreamThatIsLeftAtOnceLeavesNothing) {
  StartRun();
  v1::WatchEventsRequest request;
  request.set_name(name_);
  for (int i = 0; i < 200; ++i) {
    const auto context = user_.Context();
    const auto stream = user_.runs().WatchEvents(context.get(), request);
    context->TryCancel();
    stream->Finish();
  }
  const auto context = user_.Context();
  const auto stream = user_.runs().WatchEvents(context.get(), request);
  v1::WatchEventsResponse message;
  EXPECT_TRUE(stream->Read(&message));
  context->TryCancel();
  const grpc::Status ended = stream->Finish();
  EXPECT_NE(ended.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED) << ended.error_message();
}

TEST_F(StreamTest, AStreamEndsWhenItsRunIsNotTheCallersToSeeAnyMore) {
  StartRun();
  TestClient bob(server_->listen(), installation_.Token("bob@example.com", "user"));
  ASSERT_TRUE(bob.Create(ValidRequest(installation_)).ok());
  v1::WatchEventsRequest request;
  request.set_name(name_);
  const auto context = user_.Context();
  const auto stream = user_.runs().WatchEvents(context.get(), request);
  v1::WatchEventsResponse message;
  ASSERT_TRUE(stream->Read(&message));
  installation_.Sql(
      "update runs set owner_id = (select owner_id from owners where email = "
      "'bob@example.com') where name = '" +
      name_.substr(name_.rfind('/') + 1) + "'");
  while (stream->Read(&message)) {
  }
  EXPECT_EQ(ErrorReason(FromGrpc(stream->Finish())), "RUN_NOT_FOUND");
}

TEST_F(StreamTest, StoppingTheDaemonEndsStreamsResumablyAndWithoutDelay) {
  StartRun();
  v1::WatchEventsRequest request;
  request.set_name(name_);
  const auto context = user_.Context();
  auto stream = user_.runs().WatchEvents(context.get(), request);
  v1::WatchEventsResponse message;
  ASSERT_TRUE(stream->Read(&message));
  server_->Stop();
  while (stream->Read(&message)) {
  }
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST_F(StreamTest, ALogIsReadInPieces) {
  StartRun();
  const ArtifactStore artifacts(installation_.artifact_root());
  ASSERT_TRUE(artifacts.Put(lease_.artifact_path() + "/attempts/1/stderr.log", "one\ntwo\n").ok());
  v1::ReadRunLogRequest request;
  request.set_name(name_);
  request.set_max_bytes(4);
  v1::ReadRunLogResponse response;
  ASSERT_TRUE(user_.runs().ReadRunLog(user_.Context().get(), request, &response).ok());
  EXPECT_EQ(response.data(), "one\n");
  request.set_offset(response.next_offset());
  ASSERT_TRUE(user_.runs().ReadRunLog(user_.Context().get(), request, &response).ok());
  EXPECT_EQ(response.data(), "two\n");
  EXPECT_FALSE(response.complete());
  request.set_attempt(7);
  EXPECT_EQ(user_.runs().ReadRunLog(user_.Context().get(), request, &response).error_code(),
            grpc::StatusCode::NOT_FOUND);
}

}  // namespace
}  // namespace finetuned
