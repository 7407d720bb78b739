// Every number that trainers report, read whole, thinned out, and followed.

#include <cmath>
#include <fstream>

#include <gmock/gmock.h>

#include "absl/strings/str_cat.h"
#include "artifacts/metric_file.h"
#include "tests/lifecycle.h"

namespace finetuned {
namespace {

class MetricsTest : public LifecycleTest {
 protected:
  MetricsTest() : store_(installation_.artifact_root()) {}

  // Writes rows of these steps into the attempt's file, as a worker does; the value is the step's
  // and the attempt's.
  int64_t Write(const v1::AttemptRef& attempt, int64_t from, int64_t to) {
    std::vector<MetricRow> rows;
    for (int64_t step = from; step <= to; ++step) {
      MetricRow row;
      row.step = step;
      row.time_millis = 1'800'000'000'000 + step;
      row.values = {{"train/loss", static_cast<double>(attempt.epoch()) + 1.0 / step}};
      if (step % 10 == 0) row.values.emplace_back("eval/loss", static_cast<double>(step));
      rows.push_back(std::move(row));
    }
    const std::string path =
        absl::StrCat(Run().artifact_path(), "/attempts/", attempt.epoch(), "/metrics");
    const std::string frames = encoders_[attempt.epoch()].Encode(rows);
    int64_t& bytes = bytes_[attempt.epoch()];
    EXPECT_TRUE(store_.WriteAt(path, bytes, frames).ok());
    return bytes += static_cast<int64_t>(frames.size());
  }

  // Reports how far the file goes.
  absl::Status Tell(const v1::AttemptRef& attempt, int64_t bytes) {
    v1::RunEvent update = EventOfType(v1::RunEvent::TRAIN_UPDATED);
    update.mutable_progress()->set_step(1);
    const auto response = worker_.Report(attempt, reports_[attempt.epoch()] + 1, {update}, bytes);
    if (!response.ok()) return response.status();
    if (response->results(0).status().code() != 0) {
      return absl::FailedPreconditionError(response->results(0).status().message());
    }
    ++reports_[attempt.epoch()];
    return absl::OkStatus();
  }
  void Report(const v1::AttemptRef& attempt, int64_t from, int64_t to) {
    const absl::Status told = Tell(attempt, Write(attempt, from, to));
    ASSERT_TRUE(told.ok()) << told;
  }

  void End(const v1::AttemptRef& attempt) {
    int64_t& number = reports_[attempt.epoch()];
    ASSERT_TRUE(
        worker_.Report(attempt, ++number, {EventOfType(v1::RunEvent::TRAIN_FINISHED)}).ok());
    ASSERT_TRUE(worker_.Complete(attempt, Exit(0, true), number).ok());
  }

  v1::ReadMetricsRequest Request() const {
    v1::ReadMetricsRequest request;
    request.set_name(name_);
    return request;
  }

  using Messages = std::vector<v1::ReadMetricsResponse>;
  absl::StatusOr<Messages> Read(const v1::ReadMetricsRequest& request) {
    return ReadAs(user_, request);
  }
  static absl::StatusOr<Messages> ReadAs(TestClient& client,
                                         const v1::ReadMetricsRequest& request) {
    const auto context = client.Context();
    const auto stream = client.runs().ReadMetrics(context.get(), request);
    Messages messages;
    v1::ReadMetricsResponse message;
    while (stream->Read(&message)) messages.push_back(message);
    const absl::Status status = FromGrpc(stream->Finish());
    if (!status.ok()) return status;
    return messages;
  }
  static absl::Status ErrorOf(const absl::StatusOr<Messages>& messages) {
    return messages.status();
  }

  // The points of a name, as a subscriber puts them together.
  static std::map<int64_t, double> PointsOf(const Messages& messages, const std::string& name) {
    std::map<int64_t, double> points;
    for (const v1::ReadMetricsResponse& message : messages) {
      if (message.has_went_back_to_step()) {
        points.erase(points.upper_bound(message.went_back_to_step()), points.end());
      }
      for (const v1::MetricSeries& series : message.series()) {
        EXPECT_EQ(series.steps_size(), series.values_size());
        EXPECT_EQ(series.steps_size(), series.times_millis_size());
        if (series.name() != name) continue;
        for (int i = 0; i < series.steps_size(); ++i) points[series.steps(i)] = series.values(i);
      }
    }
    return points;
  }

  const ArtifactStore store_;
  std::map<int64_t, MetricEncoder> encoders_;
  std::map<int64_t, int64_t> bytes_;
  std::map<int64_t, int64_t> reports_;
};

TEST_F(MetricsTest, ARunWithoutNumbersHasAnEmptyStream) {
  StartRun();
  const auto messages = Read(Request());
  ASSERT_TRUE(messages.ok()) << messages.status();
  ASSERT_EQ(messages->size(), 1u);
  EXPECT_EQ(messages->front().series_size(), 0);
  EXPECT_TRUE(messages->front().caught_up());
  EXPECT_FALSE(messages->front().cursor().empty());
}

TEST_F(MetricsTest, AllOfItIsReadFromTheBeginningAndFromEveryCursor) {
  const v1::AttemptRef attempt = StartRun();
  constexpr int64_t kSteps = 60'000;
  Report(attempt, 1, kSteps);
  const auto messages = Read(Request());
  ASSERT_TRUE(messages.ok()) << messages.status();
  ASSERT_GT(messages->size(), 3u);
  const std::map<int64_t, double> all = PointsOf(*messages, "train/loss");
  ASSERT_EQ(all.size(), static_cast<size_t>(kSteps));
  EXPECT_EQ(all.begin()->first, 1);
  EXPECT_EQ(all.rbegin()->first, kSteps);
  EXPECT_EQ(all.at(7), 1 + 1.0 / 7);
  EXPECT_EQ(PointsOf(*messages, "eval/loss").size(), static_cast<size_t>(kSteps / 10));
  EXPECT_EQ(messages->back().attempt(), attempt.epoch());
  EXPECT_EQ(messages->front().series(0).times_millis(0) % 1000,
            messages->front().series(0).steps(0) % 1000);
  for (size_t i = 0; i < messages->size(); ++i) {
    v1::ReadMetricsRequest request = Request();
    request.set_cursor((*messages)[i].cursor());
    const auto rest = Read(request);
    ASSERT_TRUE(rest.ok()) << rest.status();
    const Messages expected(messages->begin() + static_cast<long>(i) + 1, messages->end());
    EXPECT_EQ(PointsOf(*rest, "train/loss"), PointsOf(expected, "train/loss")) << i;
  }
}

TEST_F(MetricsTest, WhatIsAskedForIsSentAndNothingElse) {
  Report(StartRun(), 1, 20'000);
  v1::ReadMetricsRequest request = Request();
  request.add_metrics("eval/loss");
  request.set_min_step(95);
  request.set_max_step(200);
  auto messages = Read(request);
  ASSERT_TRUE(messages.ok()) << messages.status();
  EXPECT_EQ(PointsOf(*messages, "eval/loss").size(), 11u);
  EXPECT_TRUE(PointsOf(*messages, "train/loss").empty());

  request = Request();
  request.set_max_points(100);
  messages = Read(request);
  ASSERT_TRUE(messages.ok()) << messages.status();
  const auto thinned = PointsOf(*messages, "train/loss");
  EXPECT_LE(thinned.size(), 100u);
  EXPECT_GE(thinned.size(), 25u);
  // The extremes and the ends, which here are the same.
  EXPECT_EQ(thinned.at(1), 2);
  EXPECT_EQ(thinned.at(20'000), 1 + 1.0 / 20'000);
  EXPECT_LE(PointsOf(*messages, "eval/loss").size(), 100u);
  EXPECT_FALSE(messages->back().cursor().empty());
}

TEST_F(MetricsTest, AFollowerSeesWhatComesAndTheEndOfTheRun) {
  const v1::AttemptRef attempt = StartRun();
  Report(attempt, 1, 100);
  v1::ReadMetricsRequest request = Request();
  request.set_follow(true);
  request.set_max_points(10);
  const auto context = user_.Context();
  const auto stream = user_.runs().ReadMetrics(context.get(), request);
  Messages messages;
  v1::ReadMetricsResponse message;
  const auto read_to = [&](int64_t step) {
    while (PointsOf(messages, "train/loss").count(step) == 0 && stream->Read(&message)) {
      messages.push_back(message);
    }
    return PointsOf(messages, "train/loss").size();
  };
  EXPECT_LE(read_to(100), 10u);
  const size_t before = PointsOf(messages, "train/loss").size();
  Report(attempt, 101, 150);
  // What comes new is not thinned out.
  EXPECT_EQ(read_to(150), before + 50);
  Report(attempt, 151, 152);
  End(attempt);
  while (stream->Read(&message)) messages.push_back(message);
  const grpc::Status status = stream->Finish();
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(PointsOf(messages, "train/loss").size(), before + 52);
  EXPECT_TRUE(messages.back().caught_up());
}

// What a worker writes that does not hold the attempt any more never counts, and what an attempt
// does again replaces what the one before said.
TEST_F(MetricsTest, AnAttemptThatWasLostAddsNothing) {
  const v1::AttemptRef first = StartRun();
  Report(first, 1, 100);
  v1::ReadMetricsRequest request = Request();
  request.set_follow(true);
  const auto context = user_.Context();
  const auto stream = user_.runs().ReadMetrics(context.get(), request);
  Messages followed;
  v1::ReadMetricsResponse message;
  while (PointsOf(followed, "train/loss").size() < 100 && stream->Read(&message)) {
    followed.push_back(message);
  }
  v1::AttemptEnd lost;
  lost.set_lost(true);
  ASSERT_TRUE(worker_.Complete(first, lost, reports_[1]).ok());
  installation_.Sql("update runs set retry_time = now() where retry_time is not null");
  const v1::AttemptRef second = LeaseAgain();
  ASSERT_EQ(second.epoch(), 2);
  // Its trainer is still there, and so is its file.
  const int64_t bytes = Write(first, 101, 500);
  EXPECT_TRUE(absl::IsFailedPrecondition(Tell(first, bytes)));
  auto messages = Read(Request());
  ASSERT_TRUE(messages.ok()) << messages.status();
  EXPECT_EQ(PointsOf(*messages, "train/loss").rbegin()->first, 100);

  Report(second, 51, 60);
  messages = Read(Request());
  ASSERT_TRUE(messages.ok()) << messages.status();
  std::map<int64_t, double> points = PointsOf(*messages, "train/loss");
  EXPECT_EQ(points.size(), 60u);
  EXPECT_EQ(points.at(50), 1 + 1.0 / 50);
  EXPECT_EQ(points.at(51), 2 + 1.0 / 51);
  End(second);
  while (stream->Read(&message)) followed.push_back(message);
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_EQ(PointsOf(followed, "train/loss"), points);
}

TEST_F(MetricsTest, WrongRequestsAreToldWhatIsWrong) {
  Report(StartRun(), 1, 10);
  const auto refused = [&](const char* reason, const v1::ReadMetricsRequest& request) {
    const absl::Status status = ErrorOf(Read(request));
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_THAT(status.ToString(), testing::HasSubstr(reason));
  };
  v1::ReadMetricsRequest request = Request();
  for (const int points : {-1, 1, 9, 5001}) {
    request.set_max_points(points);
    refused("max_points", request);
  }
  request = Request();
  for (int i = 0; i < 101; ++i) request.add_metrics(absl::StrCat("m", i));
  refused("metrics", request);
  request = Request();
  request.add_metrics("");
  refused("metrics", request);
  request = Request();
  request.set_min_step(-1);
  request.set_max_step(-1);
  refused("min_step", request);
  refused("max_step", request);
  request = Request();
  request.set_min_step(5);
  request.set_max_step(4);
  refused("max_step", request);
  request.set_name("workspaces/../runs/x");
  refused("name", request);
  request = Request();
  const auto messages = Read(request);
  ASSERT_TRUE(messages.ok()) << messages.status();
  const std::string cursor = messages->back().cursor();
  for (const std::string& forged : {std::string("x"), cursor + "x", cursor.substr(1)}) {
    request.set_cursor(forged);
    refused("cursor", request);
  }
  // Of other names, and of somebody else.
  request.set_cursor(cursor);
  request.add_metrics("lr");
  refused("cursor", request);
  TestClient admin(server_->listen(), installation_.Token("eve@example.com", "admin"));
  request = Request();
  request.set_cursor(cursor);
  EXPECT_THAT(ErrorOf(ReadAs(admin, request)).ToString(), testing::HasSubstr("cursor"));
  // Nobody else learns that there is such a run.
  TestClient other(server_->listen(), installation_.Token("bob@example.com", "user"));
  EXPECT_EQ(ErrorOf(ReadAs(other, Request())).code(), absl::StatusCode::kNotFound);
  TestClient stranger(server_->listen(), "wrong");
  EXPECT_EQ(ErrorOf(ReadAs(stranger, Request())).code(), absl::StatusCode::kUnauthenticated);
}

// More than a hundred series are not thinned out without naming them.
TEST_F(MetricsTest, TenThousandNamesHaveADefinedEnd) {
  const v1::AttemptRef attempt = StartRun();
  MetricRow row;
  row.step = 1;
  for (int i = 0; i < 10'000; ++i) row.values.emplace_back(absl::StrCat("m/", i), i);
  const std::string frames = MetricEncoder().Encode({row});
  const std::string path = Run().artifact_path() + "/attempts/1/metrics";
  ASSERT_TRUE(store_.WriteAt(path, 0, frames).ok());
  ASSERT_TRUE(Tell(attempt, static_cast<int64_t>(frames.size())).ok());
  auto messages = Read(Request());
  ASSERT_TRUE(messages.ok()) << messages.status();
  int series = 0;
  for (const auto& message : *messages) series += message.series_size();
  EXPECT_EQ(series, static_cast<int>(kMaxMetricNames));
  EXPECT_TRUE(messages->back().incomplete());
  v1::ReadMetricsRequest request = Request();
  request.set_max_points(10);
  EXPECT_THAT(ErrorOf(Read(request)).ToString(), testing::HasSubstr("name those you want"));
  request.add_metrics("m/999");
  request.add_metrics("m/1000");
  messages = Read(request);
  ASSERT_TRUE(messages.ok()) << messages.status();
  EXPECT_EQ(PointsOf(*messages, "m/999").size(), 1u);
}

// A worker that lies about its file, or whose file is damaged, spoils its own numbers only.
TEST_F(MetricsTest, AFileThatIsDamagedOrTooShortIsTold) {
  const v1::AttemptRef attempt = StartRun();
  const int64_t bytes = Write(attempt, 1, 10);
  ASSERT_TRUE(Tell(attempt, -5).ok());
  ASSERT_TRUE(Tell(attempt, bytes + 1'000'000).ok());
  auto messages = Read(Request());
  ASSERT_TRUE(messages.ok()) << messages.status();
  EXPECT_EQ(PointsOf(*messages, "train/loss").size(), 10u);
  EXPECT_TRUE(messages->back().incomplete());
  const std::string path =
      installation_.artifact_root() + "/" + Run().artifact_path() + "/attempts/1/metrics";
  std::ofstream(path, std::ios::in | std::ios::out | std::ios::binary).write("\xff\xff\xff\xff", 4);
  messages = Read(Request());
  ASSERT_TRUE(messages.ok()) << messages.status();
  EXPECT_TRUE(PointsOf(*messages, "train/loss").empty());
  EXPECT_TRUE(messages->back().incomplete());
}

}  // namespace
}  // namespace finetuned
