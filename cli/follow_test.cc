#include "cli/follow.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/status.h"
#include "cli/errors.h"
#include "cli/scripted_server.h"

namespace finetuned::cli {
namespace {

using ::testing::ElementsAre;

constexpr auto kStarted = v1::RunEvent::STARTED;
constexpr auto kCompleted = v1::RunEvent::COMPLETED;

class Recorder final : public FollowObserver {
 public:
  void OnEvent(const v1::RunEvent& event) override { seqs.push_back(event.seq()); }
  void OnRun(const v1::Run&) override {}
  void OnLost(const absl::Status&) override { ++lost; }
  void OnRecovered() override { ++recovered; }
  void OnDropped(int64_t up_to) override { dropped = up_to; }

  std::vector<int64_t> seqs;
  int lost = 0;
  int recovered = 0;
  int64_t dropped = 0;
};

class Follow : public ::testing::Test {
 protected:
  void SetUp() override {
    Client::Options options;
    options.server = server_.address();
    auto client = Client::Create(options, test_.io);
    ASSERT_TRUE(client.ok()) << client.status();
    client_ = *std::move(client);
    server_.get_run = [](const v1::GetRunRequest&, v1::Run* run) {
      *run = TestRun("run-1", v1::Run::COMPLETED, 4);
      return absl::OkStatus();
    };
  }

  absl::StatusOr<v1::Run> Run(int64_t after_seq = 0) {
    FollowOptions options;
    options.name = "run-1";
    options.after_seq = after_seq;
    return FollowRun(*client_, test_.io, options, recorder_);
  }

  ScriptedServer server_;
  TestIo test_;
  std::unique_ptr<Client> client_;
  Recorder recorder_;
};

TEST_F(Follow, ResumesAfterTheLastEventWithoutGapOrRepetition) {
  // The second stream repeats what the first one brought, as a server may that did not see the
  // first one end.
  server_.streams = {{{TestMessage({TestEvent(1, kStarted), TestEvent(2, kStarted)})},
                      absl::UnavailableError("shutting down"),
                      nullptr},
                     {{TestMessage({TestEvent(2, kStarted), TestEvent(3, kStarted)})},
                      absl::InternalError("RST_STREAM"),
                      nullptr},
                     {{TestMessage({TestEvent(4, kCompleted)})}, absl::OkStatus(), nullptr}};
  const auto run = Run();
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_EQ(run->state(), v1::Run::COMPLETED);
  EXPECT_THAT(recorder_.seqs, ElementsAre(1, 2, 3, 4));
  EXPECT_THAT(server_.watched_after(), ElementsAre(0, 2, 3));
  EXPECT_EQ(recorder_.lost, 2);
  EXPECT_EQ(recorder_.recovered, 2);
  EXPECT_EQ(test_.pauses, 2);
}

TEST_F(Follow, ResumesWhenTheStreamEndsBeforeTheRun) {
  server_.streams = {{{TestMessage({TestEvent(1, kStarted)})}, absl::OkStatus(), nullptr},
                     {{TestMessage({TestEvent(2, kCompleted)})}, absl::OkStatus(), nullptr}};
  ASSERT_TRUE(Run().ok());
  EXPECT_THAT(recorder_.seqs, ElementsAre(1, 2));
}

TEST_F(Follow, EndsAtOnceForARunThatHasEnded) {
  server_.streams = {
      {{TestMessage(TestRun("run-1", v1::Run::FAILED, 7))}, absl::OkStatus(), nullptr}};
  const auto run = Run(7);
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_EQ(run->state(), v1::Run::FAILED);
  EXPECT_EQ(test_.pauses, 0);
}

TEST_F(Follow, GoesOnBehindEventsThatArePastTheirRetention) {
  v1::WatchEventsResponse end;
  *end.mutable_run() = TestRun("run-1", v1::Run::COMPLETED, 9);
  server_.streams = {{{},
                      MakeError(absl::StatusCode::kOutOfRange, "CURSOR_EXPIRED", "dropped",
                                {{"earliest_seq", "10"}}),
                      nullptr},
                     {{end}, absl::OkStatus(), nullptr}};
  const auto run = Run(0);
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_EQ(run->state(), v1::Run::COMPLETED);
  EXPECT_EQ(recorder_.dropped, 9);
  EXPECT_EQ(recorder_.lost, 0);
  EXPECT_THAT(server_.watched_after(), ElementsAre(0, 9));
}

TEST_F(Follow, EndsWhenWhatWasDroppedIsNotBehindIt) {
  server_.streams = {{{},
                      MakeError(absl::StatusCode::kOutOfRange, "CURSOR_EXPIRED", "dropped",
                                {{"earliest_seq", "1"}}),
                      nullptr}};
  EXPECT_EQ(Run(5).status().code(), absl::StatusCode::kOutOfRange);
}

TEST_F(Follow, DoesNotTakeTheEndForReachedBeforeItsEventHasCome) {
  // The first message has the run as it is now, and the events are still to come.
  server_.streams = {{{TestMessage(TestRun("run-1", v1::Run::COMPLETED, 2))},
                      absl::UnavailableError("gone"),
                      nullptr},
                     {{TestMessage({TestEvent(1, kStarted), TestEvent(2, kCompleted)})},
                      absl::OkStatus(),
                      nullptr}};
  ASSERT_TRUE(Run().ok());
  EXPECT_THAT(recorder_.seqs, ElementsAre(1, 2));
}

TEST_F(Follow, AsksAgainForAnEventThatIsMissing) {
  server_.streams = {
      {{TestMessage({TestEvent(1, kStarted), TestEvent(3, kStarted)})}, absl::OkStatus(), nullptr},
      {{TestMessage({TestEvent(2, kStarted), TestEvent(3, kCompleted)})},
       absl::OkStatus(),
       nullptr}};
  ASSERT_TRUE(Run().ok());
  EXPECT_THAT(recorder_.seqs, ElementsAre(1, 2, 3));
  EXPECT_THAT(server_.watched_after(), ElementsAre(0, 1));
}

TEST_F(Follow, GivesUpOnALogThatKeepsMissingAnEvent) {
  server_.streams = {
      {{TestMessage({TestEvent(1, kStarted), TestEvent(3, kStarted)})}, absl::OkStatus(), nullptr},
      {{TestMessage({TestEvent(3, kStarted)})}, absl::OkStatus(), nullptr}};
  EXPECT_EQ(Run().status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(recorder_.seqs, ElementsAre(1));
  EXPECT_EQ(server_.watched_after().size(), static_cast<size_t>(kMaxGaps));
}

TEST_F(Follow, ReportsAnAnswerThatWouldBeTheSameAgain) {
  for (const absl::Status& status :
       {absl::NotFoundError("x"), absl::OutOfRangeError("x"), absl::UnauthenticatedError("x"),
        absl::ResourceExhaustedError("x"), absl::PermissionDeniedError("x")}) {
    server_.streams = {{{}, status, nullptr}};
    EXPECT_EQ(Run().status().code(), status.code());
  }
  EXPECT_EQ(test_.pauses, 0);
}

TEST_F(Follow, WaitsForAPlaceWhenItsOwnLostStreamStillHoldsOne) {
  server_.streams = {{{TestMessage({TestEvent(1, kStarted)})}, absl::UnavailableError(""), nullptr},
                     {{}, absl::ResourceExhaustedError("64 streams"), nullptr},
                     {{TestMessage({TestEvent(2, kCompleted)})}, absl::OkStatus(), nullptr}};
  ASSERT_TRUE(Run().ok());
  EXPECT_THAT(recorder_.seqs, ElementsAre(1, 2));
}

TEST_F(Follow, TriesTheFirstConnectionAFewTimesOnly) {
  server_.streams = {{{}, absl::UnavailableError("starting"), nullptr}};
  EXPECT_EQ(Run().status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(server_.watched_after().size(), static_cast<size_t>(Client::kMaxTries));
  EXPECT_EQ(recorder_.lost, 0);
}

TEST_F(Follow, BridgesAnOutageUpToItsLimitAndSaysSoOnce) {
  server_.streams = {{{TestMessage({TestEvent(1, kStarted)})}, absl::UnavailableError(""), nullptr},
                     {{}, absl::UnavailableError("still away"), nullptr}};
  EXPECT_EQ(Run().status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(recorder_.lost, 1);
  EXPECT_GE(test_.paused, kOutageLimit);
  EXPECT_LT(test_.paused, kOutageLimit + absl::Minutes(1));
}

TEST_F(Follow, FindsAServerThatIsBackWithinItsFirstTries) {
  server_.streams = {{{TestMessage({TestEvent(1, kCompleted)})}, absl::OkStatus(), nullptr}};
  server_.Stop();
  // Leaves the connection broken.
  EXPECT_EQ(Run().status().code(), absl::StatusCode::kUnavailable);
  server_.Start();
  const absl::StatusOr<v1::Run> run = Run();
  EXPECT_TRUE(run.ok()) << run.status();
}

TEST_F(Follow, EndsWhenInterrupted) {
  server_.streams = {{{TestMessage({TestEvent(1, kStarted)})}, absl::OkStatus(), [this] {
                        test_.interrupt.Request();
                      }}};
  EXPECT_EQ(ExitCodeOf(Run().status()), kExitInterrupted);
}

}  // namespace
}  // namespace finetuned::cli
