#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

namespace finetuned {

struct MetricPoint {
  int64_t step = 0;
  double value = 0;
  int64_t time_millis = 0;
};

// Thins out a series to at most so many points, of any number that is added in any order: all of
// them where they are few enough, else of each stretch of steps the least and the greatest value,
// and one that is no finite number, and always the first and the last point. The stretches become
// wider as there are more points, so what is kept is bounded throughout. Pure; not safe for
// concurrent use.
class Downsampler {
 public:
  static constexpr size_t kLeastPoints = 10;

  // At least kLeastPoints.
  explicit Downsampler(size_t max_points) : max_points_(max_points) {}

  void Add(const MetricPoint& point);

  // By step; those of one step in the order they were added.
  std::vector<MetricPoint> Points() const;

 private:
  struct Bucket {
    std::optional<MetricPoint> least;
    std::optional<MetricPoint> greatest;
    std::optional<MetricPoint> odd;

    void Add(const MetricPoint& point);
    size_t size() const;
  };

  void Put(const MetricPoint& point);
  // Puts stretches together in pairs.
  void Widen();

  const size_t max_points_;
  // All, while they are few enough.
  std::vector<MetricPoint> all_;
  // Else, by step without its lowest `shift_` bits.
  std::map<int64_t, Bucket> buckets_;
  size_t kept_ = 0;
  int shift_ = -1;
  std::optional<MetricPoint> first_;
  std::optional<MetricPoint> last_;
};

}  // namespace finetuned
