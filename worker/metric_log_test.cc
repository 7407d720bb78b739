#include "worker/metric_log.h"

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "worker/test_support.h"

namespace finetuned {
namespace {

const absl::Time kNow = absl::FromUnixSeconds(1'800'000'000);
constexpr char kPath[] = "runs/7/attempts/1/metrics";

class MetricLogTest : public testing::Test {
 protected:
  MetricLogTest()
      : folder_(NewTempFolder()), events_(folder_ + "/events.jsonl"), store_(folder_ + "/root") {
    std::filesystem::create_directories(store_.root());
    EXPECT_TRUE(store_.WriteNonce("test", "1").ok());
  }

  ~MetricLogTest() override { std::filesystem::remove_all(folder_); }

  void Say(const std::string& line) { std::ofstream(events_, std::ios::app) << line; }
  void SayStep(int64_t step, double loss) {
    Say(absl::StrCat(R"({"type":"progress","step":)", step, R"(,"metrics":{"train/loss":)", loss,
                     "}}\n"));
  }
  MetricLog Open(const MetricLog::Position& from = {}, int64_t max = MetricLog::kMaxFileBytes) {
    return MetricLog(&store_, kPath, events_, from, max);
  }
  static absl::Status Advance(MetricLog& log) {
    return log.Advance(kNow, [] { return std::map<std::string, double>(); });
  }
  // The file's points up to there, as text.
  std::string Points(const MetricLog::Position& position, uint8_t* flags = nullptr) {
    std::string text;
    const auto bytes = store_.Get(kPath, 1 << 24);
    if (!bytes.ok()) return bytes.status().ToString();
    MetricDecoder decoder;
    std::string_view rest =
        std::string_view(*bytes).substr(0, static_cast<size_t>(position.file_bytes));
    while (!rest.empty()) {
      const auto taken = decoder.Take(
          rest, 1 << 20, [&](int64_t step, int64_t, const std::string& name, double v) {
            absl::StrAppend(&text, step, " ", name, "=", v, ";");
          });
      if (!taken.ok() || *taken == 0) return absl::StrCat(text, " damaged");
      rest.remove_prefix(*taken);
    }
    if (flags != nullptr) *flags = decoder.flags();
    return text;
  }

  const std::string folder_;
  const std::string events_;
  const ArtifactStore store_;
};

TEST_F(MetricLogTest, KeepsEveryNumberOfProgressAndEvaluations) {
  MetricLog log = Open();
  EXPECT_TRUE(Advance(log).ok());
  EXPECT_EQ(log.position().file_bytes, 0);
  for (int step = 1; step <= 3; ++step) SayStep(step, 0.5 * step);
  Say(R"({"type":"eval","step":3,"metrics":{"eval/loss":2,"eval/words":"many"}})"
      "\n");
  Say("{\"type\":\"checkpoint\",\"step\":3,\"metrics\":{\"x\":1}}\nnoise\n[]\n{\"type\":"
      "\"progress\"}\n");
  Say(R"({"type":"progress","step":4,)");
  ASSERT_TRUE(Advance(log).ok());
  EXPECT_EQ(Points(log.position()),
            "1 train/loss=0.5;2 train/loss=1;3 train/loss=1.5;3 eval/loss=2;");
  // The rest of a line that was half written, with the GPUs' numbers.
  Say(R"("metrics":{"gpu/0/utilization":1,"train/loss":1.25}})"
      "\n");
  ASSERT_TRUE(log.Advance(kNow,
                          [] {
                            return std::map<std::string, double>{{"gpu/0/utilization", 97}};
                          })
                  .ok());
  EXPECT_EQ(Points(log.position()),
            "1 train/loss=0.5;2 train/loss=1;3 train/loss=1.5;3 eval/loss=2;4 gpu/0/utilization=97;"
            "4 train/loss=1.25;");
}

TEST_F(MetricLogTest, ShowsWhatIsNoNumber) {
  MetricLog log = Open();
  Say(R"({"type":"progress","step":1,"metrics":{"a":NaN,"b":1e400,"c":-Infinity,"d":null,"e":"1"}})"
      "\n");
  Say(R"({"type":"progress","step":-1e400,"metrics":{"a":1e308}})"
      "\n");
  ASSERT_TRUE(Advance(log).ok());
  EXPECT_EQ(Points(log.position()), "1 a=nan;1 b=nan;1 c=nan;1 d=nan;0 a=1e+308;");
}

// What was written after the position that the journal knows is written again, and counts once.
TEST_F(MetricLogTest, GoesOnFromAnOlderPosition) {
  MetricLog log = Open();
  SayStep(1, 1);
  ASSERT_TRUE(Advance(log).ok());
  const MetricLog::Position known = log.position();
  SayStep(2, 2);
  SayStep(3, 3);
  ASSERT_TRUE(Advance(log).ok());
  MetricLog restarted = Open(known);
  SayStep(4, 4);
  ASSERT_TRUE(Advance(restarted).ok());
  EXPECT_EQ(Points(restarted.position()),
            "1 train/loss=1;2 train/loss=2;3 train/loss=3;4 train/loss=4;");
}

TEST_F(MetricLogTest, WritesAllOfItAgainWhereTheFileIsGone) {
  MetricLog log = Open();
  SayStep(1, 1);
  ASSERT_TRUE(Advance(log).ok());
  ASSERT_TRUE(store_.Delete(kPath).ok());
  SayStep(2, 2);
  ASSERT_TRUE(Advance(log).ok());
  EXPECT_EQ(Points(log.position()), "1 train/loss=1;2 train/loss=2;");
}

TEST_F(MetricLogTest, GoesOnWhenTheRootCanBeWrittenToAgain) {
  MetricLog log = Open();
  SayStep(1, 1);
  ASSERT_TRUE(Advance(log).ok());
  std::filesystem::rename(store_.root(), store_.root() + ".away");
  SayStep(2, 2);
  EXPECT_FALSE(Advance(log).ok());
  EXPECT_FALSE(Advance(log).ok());
  std::filesystem::rename(store_.root() + ".away", store_.root());
  SayStep(3, 3);
  ASSERT_TRUE(Advance(log).ok());
  EXPECT_EQ(Points(log.position()), "1 train/loss=1;2 train/loss=2;3 train/loss=3;");
}

TEST_F(MetricLogTest, EndsAtItsLimitAndSaysSo) {
  MetricLog log = Open({}, 300);
  for (int step = 1; step <= 50; ++step) {
    SayStep(step, step);
    ASSERT_TRUE(Advance(log).ok());
  }
  uint8_t flags = 0;
  const std::string points = Points(log.position(), &flags);
  EXPECT_EQ(flags & kFull, kFull) << points;
  EXPECT_LT(log.position().file_bytes, 400);
  EXPECT_EQ(log.position().lines_bytes, static_cast<int64_t>(std::filesystem::file_size(events_)));
}

}  // namespace
}  // namespace finetuned
