#include "artifacts/metric_file.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <tuple>

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "base/crc32.h"

namespace finetuned {
namespace {

// Step, time, name and the bits of the value: what is no number is equal to itself.
using Point = std::tuple<int64_t, int64_t, std::string, uint64_t>;

uint64_t BitsOf(double value) {
  uint64_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

std::vector<Point> PointsOf(const std::vector<MetricRow>& rows) {
  std::vector<Point> points;
  for (const MetricRow& row : rows) {
    for (const auto& [name, value] : row.values) {
      points.emplace_back(row.step, row.time_millis, name, BitsOf(value));
    }
  }
  return points;
}

// All points of the bytes, which are given to the decoder in pieces of this size.
absl::StatusOr<std::vector<Point>> Decode(const std::string& bytes, size_t piece,
                                          MetricDecoder& decoder) {
  std::vector<Point> points;
  std::string_view rest = bytes;
  size_t seen = 0;
  while (!rest.empty()) {
    seen = std::min(rest.size(), seen + piece);
    const auto taken =
        decoder.Take(rest.substr(0, seen), 1 << 16,
                     [&](int64_t step, int64_t time, const std::string& name, double value) {
                       points.emplace_back(step, time, name, BitsOf(value));
                     });
    if (!taken.ok()) return taken.status();
    if (*taken == 0 && seen == rest.size()) break;
    rest.remove_prefix(*taken);
    seen -= *taken;
  }
  return points;
}

std::vector<MetricRow> Training(int steps) {
  std::vector<MetricRow> rows;
  std::mt19937 random(7);
  std::uniform_real_distribution<float> noise(0, 0.1f);
  for (int step = 1; step <= steps; ++step) {
    MetricRow row;
    row.step = step;
    row.time_millis = 1'700'000'000'000 + step * 1003;
    row.values = {{"train/loss", 3.0f / std::sqrt(static_cast<float>(step)) + noise(random)},
                  {"lr", 5e-7},
                  {"grad_norm", noise(random)},
                  {"tokens/s", static_cast<double>(1800 + step % 7)}};
    if (step % 50 == 0) row.values.emplace_back("eval/loss", 2.0 - step * 1e-4);
    rows.push_back(std::move(row));
  }
  return rows;
}

TEST(MetricFile, GivesBackWhatWasPutIn) {
  const std::vector<MetricRow> rows = Training(5000);
  MetricEncoder encoder;
  const std::string bytes = encoder.Encode(rows);
  for (const size_t piece : {size_t{1000}, bytes.size()}) {
    MetricDecoder decoder;
    const auto points = Decode(bytes, piece, decoder);
    ASSERT_TRUE(points.ok()) << points.status();
    EXPECT_EQ(*points, PointsOf(rows));
  }
}

TEST(MetricFile, IsCompact) {
  const std::vector<MetricRow> rows = Training(5000);
  MetricEncoder encoder;
  // A row a frame, as a trainer with a batch a second makes them.
  std::string bytes;
  for (const MetricRow& row : rows) bytes += encoder.Encode({row});
  const double per_point =
      static_cast<double>(bytes.size()) / static_cast<double>(PointsOf(rows).size());
  EXPECT_LT(per_point, 9);
  MetricDecoder decoder;
  EXPECT_EQ(*Decode(bytes, bytes.size(), decoder), PointsOf(rows));
}

TEST(MetricFile, TakesEveryNumber) {
  using Limits = std::numeric_limits<double>;
  constexpr int64_t kLeast = std::numeric_limits<int64_t>::min();
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
  const std::vector<MetricRow> rows = {
      {kMost, kLeast, {{"a", Limits::quiet_NaN()}, {"b", -Limits::infinity()}}},
      {kLeast, kMost, {{"b", Limits::denorm_min()}, {"a", Limits::max()}}},
      // Time and steps may run backwards, and a row may have no value.
      {0, 0, {}},
      {-1, -1, {{"a", -0.0}}},
      {-1, -1, {{"a", 0.0}}},
      {1, 1, {}},
      {2, 2, {}}};
  MetricEncoder encoder;
  MetricDecoder decoder;
  const auto points = Decode(encoder.Encode(rows), 1 << 20, decoder);
  ASSERT_TRUE(points.ok()) << points.status();
  EXPECT_EQ(*points, PointsOf(rows));
}

TEST(MetricFile, DropsNamesThatAreTooMany) {
  std::vector<MetricRow> rows(3);
  for (int i = 0; i < 10'000; ++i) {
    rows[static_cast<size_t>(i) % 3].values.emplace_back(absl::StrCat("metric/", i), i);
  }
  rows.push_back({9, 9, {{"metric/0", 1}, {std::string(129, 'n'), 2}, {"", 3}}});
  MetricEncoder encoder;
  MetricDecoder decoder;
  const auto points = Decode(encoder.Encode(rows), 1 << 20, decoder);
  ASSERT_TRUE(points.ok()) << points.status();
  EXPECT_EQ(points->size(), kMaxMetricNames + 1);
  EXPECT_EQ(std::get<2>(points->back()), "metric/0");
  EXPECT_EQ(decoder.flags() & kNamesDropped, kNamesDropped);
}

TEST(MetricFile, IsReadFromItsNewestReset) {
  const std::vector<MetricRow> rows = Training(200'000);
  MetricEncoder encoder;
  const std::string bytes = encoder.Encode(rows, kFull);
  ASSERT_GT(bytes.size(), size_t{2 * kResetInterval});
  MetricDecoder decoder;
  const auto all = Decode(bytes, 100'000, decoder);
  ASSERT_TRUE(all.ok()) << all.status();
  EXPECT_EQ(decoder.flags(), kReset | kFull);
  const auto reset = static_cast<size_t>(decoder.reset_offset());
  ASSERT_GT(reset, size_t{kResetInterval});
  EXPECT_LT(reset, bytes.size());
  MetricDecoder late;
  const auto rest = Decode(bytes.substr(reset), 1000, late);
  ASSERT_TRUE(rest.ok()) << rest.status();
  ASSERT_FALSE(rest->empty());
  EXPECT_EQ(*rest, std::vector<Point>(all->end() - static_cast<long>(rest->size()), all->end()));
}

// Another encoder goes on where one stopped, as a restarted agent does.
TEST(MetricFile, IsGoneOnWithByAnother) {
  const std::vector<MetricRow> rows = Training(200);
  MetricEncoder first;
  MetricEncoder second;
  const std::string bytes = first.Encode({rows.begin(), rows.begin() + 100}) +
                            second.Encode({rows.begin() + 100, rows.end()});
  MetricDecoder decoder;
  EXPECT_EQ(*Decode(bytes, 999, decoder), PointsOf(rows));
}

TEST(MetricFile, WaitsForAWholeFrame) {
  MetricEncoder encoder;
  const std::string bytes = encoder.Encode(Training(10));
  for (size_t length = 0; length < bytes.size(); ++length) {
    MetricDecoder decoder;
    const auto taken = decoder.Take(bytes.substr(0, length), 1 << 16,
                                    [](int64_t, int64_t, const std::string&, double) {});
    ASSERT_TRUE(taken.ok()) << length;
    EXPECT_EQ(*taken, 0u) << length;
  }
}

TEST(MetricFile, TellsEveryDamage) {
  MetricEncoder encoder;
  const std::string bytes = encoder.Encode(Training(10));
  std::mt19937 random(3);
  for (int i = 0; i < 2000; ++i) {
    std::string damaged = bytes;
    damaged[random() % damaged.size()] ^= static_cast<char>(1 << random() % 8);
    MetricDecoder decoder;
    // A length that is too long for what is there waits for more.
    const auto points = Decode(damaged, damaged.size(), decoder);
    EXPECT_TRUE(!points.ok() || points->empty());
  }
  // What is whole and makes no sense.
  for (int i = 0; i < 20'000; ++i) {
    std::string payload(1 + random() % 40, '\0');
    for (char& c : payload) c = static_cast<char>(random());
    payload[0] = kReset;
    std::string frame;
    for (const uint32_t number : {static_cast<uint32_t>(payload.size()), Crc32(payload)}) {
      for (int k = 0; k < 4; ++k) frame.push_back(static_cast<char>(number >> (8 * k)));
    }
    MetricDecoder decoder;
    std::ignore = Decode(frame + payload, 1000, decoder);
  }
  // One name, and then as many as make the sum overflow.
  const auto frame_of = [](const std::string& payload) {
    std::string frame;
    for (const uint32_t number : {static_cast<uint32_t>(payload.size()), Crc32(payload)}) {
      for (int k = 0; k < 4; ++k) frame.push_back(static_cast<char>(number >> (8 * k)));
    }
    return frame + payload;
  };
  MetricDecoder overflown;
  const std::string one_name("\x01\x01\x01n\x00", 5);
  const std::string too_many = std::string(1, '\0') + std::string(9, '\xFF') + '\x01' + '\0';
  EXPECT_FALSE(Decode(frame_of(one_name) + frame_of(too_many), 1000, overflown).ok());
  MetricDecoder decoder;
  EXPECT_FALSE(Decode(std::string(64, '\xFF'), 64, decoder).ok());
}

}  // namespace
}  // namespace finetuned
