#include "cli/progress_view.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/time.h"

namespace finetuned::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

const absl::Time kStart = absl::FromUnixSeconds(1767268800);  // 2026-01-01T12:00:00Z

v1::RunEvent Event(v1::RunEvent::Type type, int64_t second, const std::string& message) {
  v1::RunEvent event;
  event.set_type(type);
  event.set_message(message);
  *event.mutable_event_time() = ToProtoTime(kStart + absl::Seconds(second));
  return event;
}

v1::RunEvent Update(int64_t second, int64_t batch) {
  v1::RunEvent event = Event(v1::RunEvent::TRAIN_UPDATED, second, "batch " + std::to_string(batch));
  v1::Progress& progress = *event.mutable_progress();
  progress.set_epoch(1);
  progress.set_epochs(1);
  progress.set_batch(batch);
  progress.set_batches(10);
  progress.set_step(batch);
  progress.set_total_steps(10);
  progress.set_train_loss(1.5);
  *progress.mutable_remaining_duration() = ToProtoDuration(absl::Seconds(90));
  return event;
}

v1::Run Waiting(int64_t position) {
  v1::Run run;
  run.set_state(v1::Run::PENDING);
  run.mutable_wait()->set_reason(v1::Wait::WORKERS_BUSY);
  run.mutable_wait()->set_position(position);
  run.mutable_wait()->mutable_needed()->set_gpus(1);
  return run;
}

ProgressView::Options Options(ProgressMode mode) {
  ProgressView::Options options;
  options.mode = mode;
  options.width = 100;
  return options;
}

TEST(ProgressViewPlain, WritesOneLineForEachEvent) {
  ProgressView view(Options(ProgressMode::kPlain));
  EXPECT_EQ(view.OnEvent(Event(v1::RunEvent::CREATED, 0, "Run created.")),
            "2026-01-01 12:00:00  CREATED            Run created.\n");
  EXPECT_EQ(view.OnEvent(Event(v1::RunEvent::COMPLETED, 5, "Run completed.")),
            "2026-01-01 12:00:05  COMPLETED          Run completed.\n");
  EXPECT_EQ(view.Pause(), "");
}

TEST(ProgressViewPlain, ThinsProgressToOneLineInFiveSecondsAndKeepsTheLast) {
  ProgressView view(Options(ProgressMode::kPlain));
  EXPECT_EQ(view.OnEvent(Update(0, 1)), "2026-01-01 12:00:00  TRAIN_UPDATED      batch 1\n");
  EXPECT_EQ(view.OnEvent(Update(1, 2)), "");
  EXPECT_EQ(view.OnEvent(Update(4, 5)), "");
  EXPECT_EQ(view.OnEvent(Update(5, 6)), "2026-01-01 12:00:05  TRAIN_UPDATED      batch 6\n");
  EXPECT_EQ(view.OnEvent(Update(6, 7)), "");
  EXPECT_EQ(view.OnEvent(Update(7, 8)), "");
  EXPECT_EQ(view.OnEvent(Event(v1::RunEvent::TRAIN_FINISHED, 8, "Training completed.")),
            "2026-01-01 12:00:07  TRAIN_UPDATED      batch 8\n"
            "2026-01-01 12:00:08  TRAIN_FINISHED     Training completed.\n");
}

TEST(ProgressViewPlain, WritesTheLastProgressWhenNothingFollows) {
  ProgressView view(Options(ProgressMode::kPlain));
  view.OnEvent(Update(0, 1));
  view.OnEvent(Update(1, 2));
  EXPECT_EQ(view.Pause(), "2026-01-01 12:00:01  TRAIN_UPDATED      batch 2\n");
  EXPECT_EQ(view.Pause(), "");
}

TEST(ProgressViewPlain, SaysWhyARunWaitsWhenThatChanges) {
  ProgressView view(Options(ProgressMode::kPlain));
  EXPECT_EQ(view.OnRun(Waiting(3), kStart),
            "2026-01-01 12:00:00  (waiting)          The workers that are large enough are busy: "
            "the run needs 1 GPU; at most nothing is free on one. Place in the queue: 3.\n");
  EXPECT_EQ(view.OnRun(Waiting(3), kStart), "");
  EXPECT_THAT(view.OnRun(Waiting(2), kStart), HasSubstr("Place in the queue: 2."));
}

TEST(ProgressViewPlain, ShowsTheLossOfAnEvaluation) {
  ProgressView view(Options(ProgressMode::kPlain));
  v1::RunEvent event = Event(v1::RunEvent::EVALUATED, 0, "whatever");
  event.mutable_evaluation()->set_when(v1::Evaluation::BEFORE);
  event.mutable_evaluation()->set_loss(2.3125);
  EXPECT_EQ(view.OnEvent(event),
            "2026-01-01 12:00:00  EVALUATED          Eval loss: 2.312 (before training)\n");
}

TEST(ProgressViewPlain, EscapesMessages) {
  ProgressView view(Options(ProgressMode::kPlain));
  const std::string line = view.OnEvent(Event(v1::RunEvent::FAILED, 0, "bad\x1b[1A\nCOMPLETED"));
  EXPECT_EQ(line, "2026-01-01 12:00:00  FAILED             bad\\x1b[1A\\nCOMPLETED\n");
}

TEST(ProgressViewBar, DrawsTheBarBelowTheEventsAndRedrawsItInPlace) {
  ProgressView view(Options(ProgressMode::kBar));
  v1::Run run;
  run.set_state(v1::Run::RUNNING);
  EXPECT_EQ(view.OnRun(run, kStart), "RUNNING");
  EXPECT_EQ(view.OnEvent(Event(v1::RunEvent::STARTED, 0, "Run started.")),
            "\r\x1b[2K12:00:00  STARTED            Run started.\nRUNNING");
  EXPECT_EQ(view.OnEvent(Update(1, 4)),
            "\r\x1b[2KRUNNING  [############------------------]  40%  epoch 1/1  batch 4/10  "
            "loss 1.5  ETA 1m 30s");
}

TEST(ProgressViewBar, StaysWithinTheTerminal) {
  ProgressView::Options options = Options(ProgressMode::kBar);
  options.width = 40;
  ProgressView view(options);
  const std::string text = view.OnEvent(Update(1, 4));
  EXPECT_EQ(text, "RUNNING  [#####--------]  40%  epoch 1…");
}

TEST(ProgressViewBar, TakesTheBarAwayAtTheEnd) {
  ProgressView view(Options(ProgressMode::kBar));
  view.OnEvent(Update(1, 10));
  EXPECT_EQ(view.OnEvent(Event(v1::RunEvent::COMPLETED, 2, "Run completed.")),
            "\r\x1b[2K12:00:02  COMPLETED          Run completed.\n");
  EXPECT_EQ(view.Pause(), "");
}

TEST(ProgressViewBar, ShowsWhyARunWaitsInsteadOfABar) {
  ProgressView view(Options(ProgressMode::kBar));
  EXPECT_THAT(view.OnRun(Waiting(3), kStart), HasSubstr("PENDING  The workers that are large"));
  // The next attempt begins from its checkpoint and not at the last one's progress.
  view.OnEvent(Update(1, 4));
  EXPECT_THAT(view.OnEvent(Event(v1::RunEvent::REQUEUED, 2, "Worker lost.")),
              Not(HasSubstr("40%")));
}

TEST(ProgressViewNone, WritesNothing) {
  ProgressView view(Options(ProgressMode::kNone));
  EXPECT_EQ(view.OnEvent(Event(v1::RunEvent::CREATED, 0, "x")), "");
  EXPECT_EQ(view.OnRun(Waiting(1), kStart), "");
  EXPECT_EQ(view.Pause(), "");
}

}  // namespace
}  // namespace finetuned::cli
