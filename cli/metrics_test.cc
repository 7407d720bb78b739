// `run metrics`.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/app_fixture.h"
#include "cli/errors.h"

namespace finetuned::cli {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

// A run of 2,500 updates and one evaluation, in pages as the service cuts them.
class Metrics : public App {
 protected:
  void SetUp() override {
    App::SetUp();
    server_.list_run_events = [this](const v1::ListRunEventsRequest& request,
                                     v1::ListRunEventsResponse* response) {
      ++pages_;
      response->set_last_seq(kLast);
      for (int64_t seq = request.after_seq() + 1;
           seq <= kLast && response->events_size() < request.page_size(); ++seq) {
        v1::RunEvent& event = *response->add_events();
        event.set_seq(seq);
        event.mutable_event_time()->set_seconds(1700000000 + seq);
        if (seq == kLast) {
          event.mutable_evaluation()->set_step(kLast - 1);
          event.mutable_evaluation()->set_loss(0.5);
        } else if (reports_) {
          event.mutable_progress()->set_step(seq);
          event.mutable_progress()->set_train_loss(3000 - static_cast<double>(seq));
          (*event.mutable_progress()->mutable_metrics())["lr"] = 0.25;
        }
      }
      return absl::OkStatus();
    };
  }

  static constexpr int64_t kLast = 2501;
  bool reports_ = true;
  int pages_ = 0;
};

TEST_F(Metrics, DrawsTheLossesOverAllSteps) {
  ASSERT_EQ(Run({"run", "metrics", "run-1"}), kExitOk) << Err();
  EXPECT_EQ(pages_, 3);
  EXPECT_THAT(Out(), AllOf(HasSubstr("train/loss: 500 at step 2500; least 500 at step 2500, "
                                     "greatest 2999 at step 1\n"),
                           HasSubstr("      2999 |*"), HasSubstr("step 1 "),
                           HasSubstr("eval/loss: 0.5 at step 2500"), Not(HasSubstr("lr:"))));
}

TEST_F(Metrics, PrintsThePointsForPrograms) {
  ASSERT_EQ(Run({"run", "metrics", "run-1", "--metric", "lr", "-o", "csv"}), kExitOk) << Err();
  EXPECT_THAT(Out(),
              HasSubstr("metric,step,value,time\r\nlr,1,0.25,2023-11-14T22:13:21.000000Z\r\n"));
  EXPECT_THAT(Out(), Not(HasSubstr("loss")));
  Reset();
  ASSERT_EQ(Run({"run", "metrics", "run-1", "-m", "eval/loss", "-o", "jsonl"}), kExitOk);
  EXPECT_EQ(Out(),
            "{\"metric\":\"eval/loss\",\"step\":2500,\"value\":0.5,"
            "\"time\":\"2023-11-14T22:55:01.000000Z\"}\n");
  Reset();
  ASSERT_EQ(Run({"run", "metrics", "run-1", "-m", "all", "-o", "json"}), kExitOk);
  EXPECT_THAT(Out(), AllOf(HasSubstr("\"lr\""), HasSubstr("\"train/loss\"")));
}

TEST_F(Metrics, AMetricThatIsNotThereNamesThoseThatAre) {
  EXPECT_EQ(Run({"run", "metrics", "run-1", "-m", "accuracy"}), kExitUsage);
  EXPECT_THAT(Err(), HasSubstr("no metric `accuracy`; it has eval/loss, lr, train/loss"));
}

TEST_F(Metrics, ARunWithoutOneHasNothingToDraw) {
  server_.list_run_events = [](const v1::ListRunEventsRequest&, v1::ListRunEventsResponse*) {
    return absl::OkStatus();
  };
  EXPECT_EQ(Run({"run", "metrics", "run-1"}), kExitOk);
  EXPECT_EQ(Out(), "");
  EXPECT_THAT(Err(), HasSubstr("reported no loss yet"));
}

}  // namespace
}  // namespace finetuned::cli
