#include "daemon/downsample.h"

#include <algorithm>
#include <cmath>

namespace finetuned {
namespace {

bool IsEarlier(const MetricPoint& a, const MetricPoint& b) { return a.step < b.step; }

bool IsSame(const MetricPoint& a, const MetricPoint& b) {
  return a.step == b.step && a.time_millis == b.time_millis &&
         (a.value == b.value || (std::isnan(a.value) && std::isnan(b.value)));
}

}  // namespace

void Downsampler::Bucket::Add(const MetricPoint& point) {
  if (!std::isfinite(point.value)) {
    if (!odd.has_value()) odd = point;
    return;
  }
  if (!least.has_value()) {
    least = point;
    return;
  }
  // Two points, until there is a third: the one that is less and the one that is not.
  const MetricPoint& top = greatest.has_value() ? *greatest : *least;
  if (point.value < least->value) {
    if (!greatest.has_value()) greatest = least;
    least = point;
  } else if (!greatest.has_value() || point.value > top.value) {
    greatest = point;
  }
}

size_t Downsampler::Bucket::size() const {
  return size_t{least.has_value()} + size_t{greatest.has_value()} + size_t{odd.has_value()};
}

void Downsampler::Add(const MetricPoint& point) {
  if (!first_.has_value() || IsEarlier(point, *first_)) first_ = point;
  if (!last_.has_value() || !IsEarlier(point, *last_)) last_ = point;
  if (shift_ < 0) {
    all_.push_back(point);
    if (all_.size() <= max_points_) return;
    shift_ = 0;
    for (const MetricPoint& one : all_) Put(one);
    all_.clear();
    all_.shrink_to_fit();
  } else {
    Put(point);
  }
  // Room is kept for the first and the last.
  while (kept_ > max_points_ - 2) Widen();
}

void Downsampler::Put(const MetricPoint& point) {
  Bucket& bucket = buckets_[point.step >> shift_];
  kept_ -= bucket.size();
  bucket.Add(point);
  kept_ += bucket.size();
}

void Downsampler::Widen() {
  ++shift_;
  std::map<int64_t, Bucket> wider;
  kept_ = 0;
  for (const auto& [number, bucket] : buckets_) {
    Bucket& joined = wider[number >> 1];
    kept_ -= joined.size();
    for (const auto* point : {&bucket.least, &bucket.greatest, &bucket.odd}) {
      if (point->has_value()) joined.Add(**point);
    }
    kept_ += joined.size();
  }
  buckets_ = std::move(wider);
}

std::vector<MetricPoint> Downsampler::Points() const {
  std::vector<MetricPoint> points = all_;
  for (const auto& [number, bucket] : buckets_) {
    for (const auto* point : {&bucket.least, &bucket.greatest, &bucket.odd}) {
      if (point->has_value()) points.push_back(**point);
    }
  }
  if (shift_ >= 0) {
    for (const auto* end : {&first_, &last_}) {
      const bool kept = std::any_of(points.begin(), points.end(), [end](const MetricPoint& point) {
        return IsSame(point, **end);
      });
      if (!kept) points.push_back(**end);
    }
  }
  std::stable_sort(points.begin(), points.end(), IsEarlier);
  return points;
}

}  // namespace finetuned
