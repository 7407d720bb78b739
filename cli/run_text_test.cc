#include "cli/run_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "base/time.h"

namespace finetuned::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(ShortName, IsTheLastSegmentWithoutControlCharacters) {
  EXPECT_EQ(ShortName("workspaces/w/runs/run-1"), "run-1");
  EXPECT_EQ(ShortName("run-1"), "run-1");
  EXPECT_EQ(ShortName("runs/\x1b[1m"), "\\x1b[1m");
}

TEST(ProgressFraction, CountsStepsThenTokensThenBatches) {
  v1::Progress progress;
  EXPECT_FALSE(ProgressFraction(progress).has_value());
  progress.set_epoch(2);
  progress.set_epochs(2);
  progress.set_batch(5);
  progress.set_batches(10);
  EXPECT_DOUBLE_EQ(*ProgressFraction(progress), 0.75);
  progress.set_tokens(20);
  progress.set_max_tokens(100);
  EXPECT_DOUBLE_EQ(*ProgressFraction(progress), 0.2);
  progress.set_step(9);
  progress.set_total_steps(10);
  EXPECT_DOUBLE_EQ(*ProgressFraction(progress), 0.9);
  progress.set_step(11);
  EXPECT_DOUBLE_EQ(*ProgressFraction(progress), 1.0);
}

TEST(ProgressPercent, SaysOneHundredOnlyAtTheEnd) {
  v1::Progress progress;
  progress.set_step(999);
  progress.set_total_steps(1000);
  EXPECT_EQ(ProgressPercent(progress), "99%");
  progress.set_step(1000);
  EXPECT_EQ(ProgressPercent(progress), "100%");
}

TEST(ComputeText, NamesWhatIsStated) {
  v1::Compute compute;
  EXPECT_EQ(ComputeText(compute), "nothing");
  compute.set_gpus(2);
  compute.set_gpu_type("h200");
  compute.set_cpus(1);
  compute.set_memory_bytes(int64_t{8} << 30);
  EXPECT_EQ(ComputeText(compute), "2 GPUs (h200), 1 CPU, 8 GiB");
}

TEST(WaitSentence, SaysSomethingOwnForEveryReason) {
  std::set<std::string> sentences;
  const auto* reasons = v1::Wait::Reason_descriptor();
  for (int i = 0; i < reasons->value_count(); ++i) {
    v1::Wait wait;
    wait.set_reason(static_cast<v1::Wait::Reason>(reasons->value(i)->number()));
    sentences.insert(WaitSentence(wait));
  }
  EXPECT_EQ(sentences.size(), static_cast<size_t>(reasons->value_count()));
}

TEST(FailureAdvice, SaysSomethingForEveryAttributionThatIsKnown) {
  const auto* attributions = v1::Failure::Attribution_descriptor();
  for (int i = 1; i < attributions->value_count(); ++i) {
    v1::Failure failure;
    failure.set_attribution(
        static_cast<v1::Failure::Attribution>(attributions->value(i)->number()));
    EXPECT_NE(FailureAdvice(failure), "") << attributions->value(i)->name();
  }
}

TEST(RunPage, AnswersWhyARunFailedAndWhatToDo) {
  const absl::Time now = absl::FromUnixSeconds(1767268800);
  v1::Run run;
  run.set_name("workspaces/w/runs/run-1");
  run.set_state(v1::Run::FAILED);
  run.mutable_spec()->set_model("finetuned/tiny-llama");
  run.mutable_failure()->set_code("UNKNOWN_EXAMPLE_TYPE");
  run.mutable_failure()->set_message("line 3 has no `messages`");
  run.mutable_failure()->set_attribution(v1::Failure::USER);
  run.mutable_failure()->set_stderr_tail("one\n\x1b[2Jtwo\n");
  *run.mutable_create_time() = ToProtoTime(now - absl::Minutes(10));
  *run.mutable_start_time() = ToProtoTime(now - absl::Minutes(9));
  *run.mutable_end_time() = ToProtoTime(now - absl::Minutes(4));
  (*run.mutable_labels())["b"] = "2";
  (*run.mutable_labels())["a"] = "1";
  EXPECT_EQ(RunPage(run, now, false),
            "Name:         run-1\n"
            "State:        FAILED\n"
            "Failure:      UNKNOWN_EXAMPLE_TYPE: line 3 has no `messages`\n"
            "Caused by:    USER\n"
            "Advice:       Correct the data or the arguments and create the run again.\n"
            "Last output:  one\n"
            "              \\x1b[2Jtwo\n"
            "Created:      2026-01-01T11:50:00Z (10m ago)\n"
            "Started:      2026-01-01T11:51:00Z (9m ago)\n"
            "Ended:        2026-01-01T11:56:00Z (4m ago)\n"
            "Took:         5m\n"
            "Model:        finetuned/tiny-llama\n"
            "Task:         TASK_TYPE_UNSPECIFIED\n"
            "Labels:       a=1, b=2\n"
            "Next:         finetune run logs run-1\n"
            "              finetune run events run-1\n");
}

TEST(EventStyle, MarksWhatAUserChanged) {
  EXPECT_EQ(EventStyle(v1::RunEvent::UPDATED), Style::kBlue);
  EXPECT_EQ(EventTypeName(v1::RunEvent::UPDATED), "UPDATED");
  EXPECT_FALSE(IsTerminalEvent(v1::RunEvent::UPDATED));
}

TEST(RunPage, ShowsTheExperimentByPathAndName) {
  v1::Run run;
  run.mutable_spec()->set_experiment_path("/Shared/tune");
  run.set_experiment("workspaces/w/experiments/u-1");
  EXPECT_THAT(RunPage(run, absl::UnixEpoch(), false),
              HasSubstr("Experiment:  /Shared/tune\n"
                        "             workspaces/w/experiments/u-1\n"));
}

TEST(RunPage, ShowsTheLinksOfTheTrainer) {
  v1::Run run;
  (*run.mutable_links())["wandb"] = "https://wandb/1";
  (*run.mutable_links())["mlflow"] = "https://mlflow/1";
  EXPECT_THAT(RunPage(run, absl::UnixEpoch(), false),
              HasSubstr("Links:  mlflow: https://mlflow/1, wandb: https://wandb/1\n"));
}

TEST(ProgressText, AnEstimateThatIsPastIsNotShown) {
  const absl::Time now = absl::FromUnixSeconds(1700000000);
  v1::Run run;
  run.set_state(v1::Run::RUNNING);
  run.mutable_progress()->set_step(5);
  run.mutable_progress()->set_total_steps(10);
  run.mutable_estimated_end_time()->set_seconds(absl::ToUnixSeconds(now) + 90);
  EXPECT_THAT(ProgressText(run, now, true), HasSubstr("ETA"));
  EXPECT_THAT(RunPage(run, now, false), HasSubstr("ETA"));
  run.mutable_estimated_end_time()->set_seconds(absl::ToUnixSeconds(now) - 1);
  EXPECT_THAT(ProgressText(run, now, true), Not(HasSubstr("ETA")));
  EXPECT_THAT(RunPage(run, now, false), Not(HasSubstr("ETA")));
}

TEST(RunPage, SaysWhyARunWaits) {
  v1::Run run;
  run.set_state(v1::Run::PENDING);
  run.mutable_wait()->set_reason(v1::Wait::NO_WORKER);
  EXPECT_THAT(RunPage(run, absl::UnixEpoch(), false),
              HasSubstr("Why waiting:  No worker is connected;"));
}

}  // namespace
}  // namespace finetuned::cli
