// What users follow: events as a stream, and logs in pieces.

#include <thread>

#include "absl/synchronization/notification.h"
#include "daemon/stream.h"
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

TEST_F(StreamTest, ManyFollowOneRunFromDifferentPlacesAndEachHasEverything) {
  const v1::AttemptRef attempt = StartRun();
  v1::RunEvent updated = EventOfType(v1::RunEvent::TRAIN_UPDATED);
  updated.mutable_progress()->set_batch(1);
  int64_t report = 1;
  // More than a daemon keeps of a run in memory.
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(worker_.Report(attempt, report, std::vector<v1::RunEvent>(400, updated)).ok());
    report += 400;
  }
  constexpr int kStreams = 40;
  std::vector<int64_t> last(kStreams, 0);
  std::vector<std::thread> readers;
  for (int i = 0; i < kStreams; ++i) {
    readers.emplace_back([&, i] {
      v1::WatchEventsRequest request;
      request.set_name(name_);
      request.set_after_seq(i * 20);
      const auto context = user_.Context();
      auto stream = user_.runs().WatchEvents(context.get(), request);
      int64_t seq = request.after_seq();
      v1::WatchEventsResponse message;
      while (stream->Read(&message)) {
        for (const auto& event : message.events()) EXPECT_EQ(event.seq(), ++seq);
        EXPECT_EQ(message.bookmark_seq(), seq);
      }
      EXPECT_TRUE(stream->Finish().ok());
      EXPECT_EQ(message.run().state(), v1::Run::COMPLETED);
      last[i] = seq;
    });
  }
  for (int i = 0; i < 200; ++i) {
    ASSERT_TRUE(worker_.Report(attempt, report, std::vector<v1::RunEvent>(4, updated)).ok());
    report += 4;
  }
  ASSERT_TRUE(worker_.Report(attempt, report, {EventOfType(v1::RunEvent::TRAIN_FINISHED)}).ok());
  ASSERT_TRUE(worker_.Complete(attempt, Exit(0, true), report).ok());
  for (std::thread& reader : readers) reader.join();
  for (const int64_t seq : last) EXPECT_EQ(seq, report + 2);
}

// The past comes in pages that all share; it must not show where they begin.
TEST_F(StreamTest, ThePastIsTheSameFromEveryPlace) {
  const v1::AttemptRef attempt = StartRun();
  int64_t report = 1;
  for (int i = 0; i < 3; ++i) {
    std::vector<v1::RunEvent> events(400, EventOfType(v1::RunEvent::TRAIN_UPDATED));
    for (v1::RunEvent& event : events) event.mutable_progress()->set_batch(++report);
    ASSERT_TRUE(worker_.Report(attempt, 1 + 400 * i, events).ok());
  }
  ASSERT_TRUE(worker_.Report(attempt, 1201, {EventOfType(v1::RunEvent::TRAIN_FINISHED)}).ok());
  ASSERT_TRUE(worker_.Complete(attempt, Exit(0, true), 1201).ok());
  std::map<int64_t, std::string> stored;
  v1::ListRunEventsRequest list;
  list.set_name(name_);
  do {
    v1::ListRunEventsResponse page;
    list.set_after_seq(static_cast<int64_t>(stored.size()));
    ASSERT_TRUE(user_.runs().ListRunEvents(user_.Context().get(), list, &page).ok());
    if (page.events().empty()) break;
    for (const auto& event : page.events()) stored[event.seq()] = event.SerializeAsString();
  } while (true);
  ASSERT_EQ(stored.size(), 1203);
  for (const bool filtered : {false, true, false}) {
    for (const int64_t after : {0, 1, 499, 500, 501, 703, 999, 1000, 1202}) {
      v1::WatchEventsRequest request;
      request.set_name(name_);
      request.set_after_seq(after);
      if (filtered) request.add_types(v1::RunEvent::TRAIN_UPDATED);
      const auto context = user_.Context();
      auto stream = user_.runs().WatchEvents(context.get(), request);
      int64_t seq = after;
      v1::WatchEventsResponse message;
      while (stream->Read(&message)) {
        for (const auto& event : message.events()) {
          EXPECT_EQ(event.SerializeAsString(), stored[event.seq()]);
          if (!filtered) {
            EXPECT_EQ(event.seq(), seq + 1);
          }
          seq = event.seq();
        }
        EXPECT_GE(message.bookmark_seq(), seq);
      }
      EXPECT_TRUE(stream->Finish().ok());
      EXPECT_EQ(message.run().state(), v1::Run::COMPLETED);
      EXPECT_EQ(message.bookmark_seq(), 1203);
    }
  }
}

TEST_F(StreamTest, WhoTakesNothingIsEndedResumablyAndCostsTheOthersNothing) {
  const v1::AttemptRef attempt = StartRun();
  v1::RunEvent large = EventOfType(v1::RunEvent::OTHER);
  large.set_raw_json('"' + std::string(8 << 10, 'x') + '"');
  int64_t report = 1;
  for (; report <= 2000; report += 100) {
    ASSERT_TRUE(worker_.Report(attempt, report, std::vector<v1::RunEvent>(100, large)).ok());
  }
  v1::WatchEventsRequest request;
  request.set_name(name_);
  const auto context = user_.Context();
  auto stopped = user_.runs().WatchEvents(context.get(), request);
  // Another one reads all of it meanwhile.
  const auto other_context = user_.Context();
  auto other = user_.runs().WatchEvents(other_context.get(), request);
  v1::WatchEventsResponse message;
  while (message.bookmark_seq() < report && other->Read(&message)) {
  }
  EXPECT_EQ(message.bookmark_seq(), report);
  other_context->TryCancel();
  other->Finish();
  // That time passes is what is tested.
  absl::Notification never;
  never.WaitForNotificationWithTimeout(kSlowConsumer + absl::Seconds(2));
  int64_t seq = 0;
  while (stopped->Read(&message)) {
    for (const auto& event : message.events()) EXPECT_EQ(event.seq(), ++seq);
  }
  EXPECT_LT(seq, report);
  const absl::Status ended = FromGrpc(stopped->Finish());
  EXPECT_EQ(ErrorReason(ended), "SLOW_CONSUMER") << ended;
  EXPECT_EQ(ended.code(), absl::StatusCode::kAborted);
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

TEST_F(StreamTest, ALogThatWasTooLargeSaysWhatIsMissing) {
  StartRun();
  const ArtifactStore artifacts(installation_.artifact_root());
  const std::string path = lease_.artifact_path() + "/attempts/1/stderr.log";
  constexpr int64_t kBlock = 1 << 20;
  ASSERT_TRUE(artifacts.Put(path, std::string(4 * kBlock, 'x')).ok());
  ASSERT_GT(*artifacts.DropMiddle(path, kBlock, kBlock, kBlock), 0);
  v1::ReadRunLogRequest request;
  request.set_name(name_);
  request.set_max_bytes(512 << 10);
  int64_t dropped = 0;
  int64_t read = 0;
  v1::ReadRunLogResponse response;
  do {
    ASSERT_TRUE(user_.runs().ReadRunLog(user_.Context().get(), request, &response).ok());
    EXPECT_EQ(response.data().find_first_not_of('x'), std::string::npos);
    dropped += response.dropped_bytes();
    read += static_cast<int64_t>(response.data().size());
    request.set_offset(response.next_offset());
  } while (!response.data().empty());
  EXPECT_EQ(dropped, 2 * kBlock);
  EXPECT_EQ(read, 2 * kBlock);
  EXPECT_EQ(request.offset(), 4 * kBlock);
}

}  // namespace
}  // namespace finetuned
