// `run metrics`.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "cli/app_fixture.h"
#include "cli/errors.h"

namespace finetuned::cli {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

// A run of 2,500 updates and one evaluation, of which a daemon has only the events.
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

v1::ReadMetricsResponse Points(const std::string& cursor, const std::string& name,
                               const std::vector<std::pair<int64_t, double>>& points) {
  v1::ReadMetricsResponse message;
  message.set_attempt(1);
  message.set_cursor(cursor);
  message.set_caught_up(!cursor.empty());
  if (points.empty()) return message;
  v1::MetricSeries* series = message.add_series();
  series->set_name(name);
  for (const auto& [step, value] : points) {
    series->add_steps(step);
    series->add_values(value);
    series->add_times_millis(1767268800000 + step);
  }
  return message;
}

// What the daemon keeps of every batch.
class MetricSeries : public App {
 protected:
  void SetUp() override {
    App::SetUp();
    server_.read_metrics = [this](const v1::ReadMetricsRequest& request) {
      requests_.push_back(request);
      const size_t call = std::min(requests_.size(), scripts_.size()) - 1;
      return scripts_[call];
    };
  }

  std::vector<MetricScript> scripts_;
  std::vector<v1::ReadMetricsRequest> requests_;
};

TEST_F(MetricSeries, DrawsWhatTheServiceThinnedOut) {
  scripts_ = {{{Points("", "train/loss", {{1, 4}, {900, 2}, {5000, 3}}),
                Points("c1", "eval/loss", {{5000, 2.5}})},
               absl::OkStatus(),
               nullptr}};
  ASSERT_EQ(Run({"run", "metrics", "run-1"}), kExitOk) << Err();
  EXPECT_THAT(Out(), AllOf(HasSubstr("train/loss: 3 at step 5000; least 2 at step 900, greatest 4 "
                                     "at step 1\n"),
                           HasSubstr("eval/loss: 2.5 at step 5000")));
  ASSERT_EQ(requests_.size(), 1u);
  EXPECT_EQ(requests_[0].max_points(), 1000);
  EXPECT_EQ(requests_[0].metrics_size(), 2);
  EXPECT_FALSE(requests_[0].follow());
}

TEST_F(MetricSeries, PrintsEveryPointForPrograms) {
  scripts_ = {{{Points("c1", "lr", {{1, 0.5}, {2, std::nan("")}}), Points("c2", "lr", {{3, 0.25}})},
               absl::OkStatus(),
               nullptr}};
  ASSERT_EQ(Run({"run", "metrics", "run-1", "-m", "lr", "-o", "csv", "--from-step", "1",
                 "--to-step", "9"}),
            kExitOk)
      << Err();
  EXPECT_EQ(Out(),
            "metric,step,value,time\r\nlr,1,0.5,2026-01-01T12:00:00.001000Z\r\n"
            "lr,2,nan,2026-01-01T12:00:00.002000Z\r\nlr,3,0.25,2026-01-01T12:00:00.003000Z\r\n");
  EXPECT_EQ(requests_[0].max_points(), 0);
  EXPECT_EQ(requests_[0].min_step(), 1);
  EXPECT_EQ(requests_[0].max_step(), 9);
  Reset();
  ASSERT_EQ(Run({"run", "metrics", "run-1", "-m", "lr", "-o", "jsonl", "--points", "50"}), kExitOk);
  EXPECT_THAT(Out(), HasSubstr("\"step\":2,\"value\":null,"));
  EXPECT_EQ(requests_.back().max_points(), 50);
}

TEST_F(MetricSeries, TellsThatALossIsNoNumber) {
  scripts_ = {{{Points("c1", "train/loss", {{1, 4}, {2, std::nan("")}, {3, std::nan("")}})},
               absl::OkStatus(),
               nullptr}};
  ASSERT_EQ(Run({"run", "metrics", "run-1"}), kExitOk);
  EXPECT_THAT(Out(),
              HasSubstr("train/loss: nan at step 3; least 4 at step 1, greatest 4 at step 1; "
                        "2 are no finite number\n"));
}

// The stream breaks twice, before and after its first cursor: no point is lost or printed twice.
TEST_F(MetricSeries, FollowsOverBreaks) {
  v1::ReadMetricsResponse back = Points("c3", "lr", {{2, 20}, {3, 30}});
  back.set_attempt(2);
  back.set_went_back_to_step(2);
  const absl::Status broken = absl::UnavailableError("gone");
  scripts_ = {{{Points("", "lr", {{1, 1}})}, broken, nullptr},
              {{Points("", "lr", {{1, 1}}), Points("c1", "lr", {{2, 2}, {3, 3}})}, broken, nullptr},
              {{Points("c2", "", {})}, absl::AbortedError("too slow"), nullptr},
              {{back}, absl::OkStatus(), nullptr}};
  ASSERT_EQ(Run({"run", "metrics", "run-1", "-m", "lr", "--follow", "-o", "csv"}), kExitOk)
      << Err();
  EXPECT_EQ(Out(),
            "metric,step,value,time\r\nlr,1,1,2026-01-01T12:00:00.001000Z\r\n"
            "lr,2,2,2026-01-01T12:00:00.002000Z\r\nlr,3,3,2026-01-01T12:00:00.003000Z\r\n"
            "lr,2,20,2026-01-01T12:00:00.002000Z\r\nlr,3,30,2026-01-01T12:00:00.003000Z\r\n");
  ASSERT_EQ(requests_.size(), 4u);
  EXPECT_EQ(requests_[1].cursor(), "");
  EXPECT_EQ(requests_[2].cursor(), "c1");
  EXPECT_EQ(requests_[3].cursor(), "c2");
  EXPECT_THAT(Err(), HasSubstr("Lost the server (gone); the run goes on, reconnecting"));
  Reset();
  requests_.clear();
  ASSERT_EQ(Run({"run", "metrics", "run-1", "-m", "lr", "--follow"}), kExitOk);
  EXPECT_THAT(Out(), HasSubstr("lr  step 3  30\n"));
  EXPECT_THAT(Err(), HasSubstr("Attempt 2 goes on from step 2"));
}

TEST_F(MetricSeries, NamesWhatIsThereInsteadOfWhatIsNot) {
  scripts_ = {{{Points("c1", "", {})}, absl::OkStatus(), nullptr},
              {{Points("c1", "lr", {{1, 1}})}, absl::OkStatus(), nullptr}};
  EXPECT_EQ(Run({"run", "metrics", "run-1", "-m", "accuracy"}), kExitUsage);
  EXPECT_THAT(Err(), HasSubstr("no metric `accuracy`; it has lr."));
  EXPECT_EQ(requests_.back().metrics_size(), 0);
}

// One that the run has, and not at these steps, is none that it lacks.
TEST_F(MetricSeries, ShowsNothingOfOtherSteps) {
  scripts_ = {{{Points("c1", "loss", {{1, 5}})}, absl::OkStatus(), nullptr},
              {{Points("c1", "lr", {{700, 0.5}}), Points("c1", "loss", {{1, 5}, {900, 2}})},
               absl::OkStatus(),
               nullptr}};
  ASSERT_EQ(Run({"run", "metrics", "run-1", "-m", "lr,loss", "--to-step", "9", "-o", "csv"}),
            kExitOk)
      << Err();
  EXPECT_EQ(Out(), "metric,step,value,time\r\nloss,1,5,2026-01-01T12:00:00.001000Z\r\n");
}

TEST_F(MetricSeries, WrongInputIsToldBeforeACall) {
  EXPECT_EQ(Run({"run", "metrics", "run-1", "--from-step", "9", "--to-step", "3"}), kExitUsage);
  EXPECT_THAT(Err(), HasSubstr("--from-step and --to-step"));
  EXPECT_EQ(Run({"run", "metrics", "run-1", "--follow", "-o", "json"}), kExitUsage);
  EXPECT_EQ(Run({"run", "metrics", "run-1", "--points", "many"}), kExitUsage);
  EXPECT_TRUE(requests_.empty());
}

}  // namespace
}  // namespace finetuned::cli
