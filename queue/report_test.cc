#include "queue/report.h"

#include <gtest/gtest.h>

#include "base/status.h"

namespace finetuned {
namespace {

constexpr int64_t kSession = 7;

RunSnapshot Starting() {
  RunSnapshot run;
  run.run_id = 1;
  run.state = RunState::kStarting;
  run.epoch = 2;
  run.lease_epoch = 2;
  run.session_id = kSession;
  run.last_seq = 5;
  return run;
}

IncomingReport Report(int64_t number, EventType type) {
  IncomingReport report;
  report.number = number;
  report.type = type;
  return report;
}

TEST(Report, EventsAreNumberedOnFromTheRunsRow) {
  const auto outcome =
      DecideReports(Starting(), kSession, 2,
                    {Report(1, EventType::kStarted), Report(2, EventType::kDataValidated)});
  ASSERT_TRUE(outcome.ok());
  ASSERT_EQ(outcome->events.size(), 2u);
  EXPECT_EQ(outcome->events[0].seq, 6);
  EXPECT_EQ(outcome->events[1].seq, 7);
  EXPECT_EQ(outcome->last_seq, 7);
  EXPECT_EQ(outcome->acked_report, 2);
  EXPECT_EQ(outcome->state, RunState::kRunning);
  EXPECT_TRUE(outcome->starts);
}

TEST(Report, AnEventIsStoredAsItWasReported) {
  IncomingReport report = Report(1, EventType::kOther);
  report.message = "said";
  report.detail = "bytes";
  report.links_json = "{}";
  const auto outcome = DecideReports(Starting(), kSession, 2, {report});
  ASSERT_TRUE(outcome.ok());
  ASSERT_EQ(outcome->events.size(), 1u);
  EXPECT_EQ(outcome->events[0].type, EventType::kOther);
  EXPECT_EQ(outcome->events[0].epoch, 2);
  EXPECT_EQ(outcome->events[0].message, "said");
  EXPECT_EQ(outcome->events[0].detail, "bytes");
  EXPECT_EQ(outcome->links_json, "{}");
  EXPECT_EQ(outcome->state, RunState::kStarting);
  EXPECT_FALSE(outcome->starts);
}

TEST(Report, ADeliveryOfBeforeIsStoredOnce) {
  RunSnapshot run = Starting();
  run.acked_report = 1;
  const auto outcome = DecideReports(
      run, kSession, 2, {Report(1, EventType::kStarted), Report(2, EventType::kDataValidated)});
  ASSERT_TRUE(outcome.ok());
  ASSERT_EQ(outcome->events.size(), 1u);
  EXPECT_EQ(outcome->events[0].type, EventType::kDataValidated);
  EXPECT_FALSE(DecideReports(run, kSession, 2, {Report(1, EventType::kStarted)})->Changes(run));
}

TEST(Report, AGapInTheNumbersIsRefusedBecauseAnEventWouldBeMissing) {
  const auto outcome = DecideReports(Starting(), kSession, 2, {Report(2, EventType::kOther)});
  EXPECT_EQ(ErrorReason(outcome.status()), "REPORT_OUT_OF_ORDER");
  EXPECT_EQ(Violations(outcome.status())[0].description, "is 2 where 1 is next");
}

TEST(Report, WhoeverDoesNotHoldTheAttemptWritesNothing) {
  const std::vector<IncomingReport> reports = {Report(1, EventType::kStarted)};
  EXPECT_EQ(ErrorReason(DecideReports(Starting(), kSession, 1, reports).status()), "LEASE_LOST");
  EXPECT_EQ(ErrorReason(DecideReports(Starting(), kSession, 3, reports).status()), "LEASE_LOST");
  EXPECT_EQ(ErrorReason(DecideReports(Starting(), 8, 2, reports).status()), "LEASE_LOST");
  RunSnapshot run = Starting();
  run.lease_epoch = 0;
  EXPECT_EQ(ErrorReason(DecideReports(run, kSession, 2, reports).status()), "LEASE_LOST");
  run = Starting();
  run.state = RunState::kStopped;
  EXPECT_EQ(ErrorReason(DecideReports(run, kSession, 2, reports).status()), "LEASE_LOST");
}

TEST(Report, AWorkerCannotReportATerminalEvent) {
  for (const EventType type : {EventType::kCompleted, EventType::kFailed, EventType::kCanceled,
                               EventType::kCreated, EventType::kRequeued}) {
    EXPECT_EQ(ErrorReason(DecideReports(Starting(), kSession, 2, {Report(1, type)}).status()),
              "EVENT_TYPE_NOT_REPORTABLE");
  }
}

TEST(Report, FinishedTrainingTerminatesAndHasNoEstimate) {
  RunSnapshot run = Starting();
  run.state = RunState::kRunning;
  IncomingReport update = Report(1, EventType::kTrainUpdated);
  update.progress = "p";
  update.remaining = absl::Seconds(5);
  auto outcome = DecideReports(run, kSession, 2, {update});
  EXPECT_EQ(outcome->progress, "p");
  EXPECT_EQ(outcome->remaining, absl::Seconds(5));
  EXPECT_TRUE(outcome->sets_estimate);
  outcome = DecideReports(run, kSession, 2, {Report(1, EventType::kTrainFinished)});
  EXPECT_TRUE(outcome->sets_estimate);
  EXPECT_FALSE(DecideReports(run, kSession, 2, {Report(1, EventType::kOther)})->sets_estimate);
  outcome = DecideReports(run, kSession, 2, {update, Report(2, EventType::kTrainFinished)});
  EXPECT_EQ(outcome->state, RunState::kTerminating);
  EXPECT_TRUE(outcome->sets_estimate);
  EXPECT_FALSE(outcome->remaining.has_value());
}

TEST(Report, TheMetricFileNeverBecomesShorter) {
  std::vector<IncomingReport> reports;
  for (const int64_t bytes : {10, 30, 20}) {
    reports.push_back(Report(static_cast<int64_t>(reports.size()) + 1, EventType::kOther));
    reports.back().metric_bytes = bytes;
  }
  EXPECT_EQ(DecideReports(Starting(), kSession, 2, reports)->metric_bytes, 30);
}

TEST(Report, ARunThatIsBeingStoppedStaysTerminatingWhenItsTrainerStarts) {
  RunSnapshot run = Starting();
  run.state = RunState::kTerminating;
  run.stop_requested = StopKind::kCancel;
  EXPECT_EQ(DecideReports(run, kSession, 2, {Report(1, EventType::kStarted)})->state,
            RunState::kTerminating);
}

}  // namespace
}  // namespace finetuned
