#include "base/time.h"

namespace finetuned {
namespace {

// 0001-01-01T00:00:00Z and 9999-12-31T23:59:59Z (google/protobuf/timestamp.proto).
constexpr int64_t kMinTimestampSeconds = -62135596800;
constexpr int64_t kMaxTimestampSeconds = 253402300799;
// google/protobuf/duration.proto.
constexpr int64_t kMaxDurationSeconds = 315576000000;
constexpr int32_t kMaxNanos = 999999999;

}  // namespace

google::protobuf::Timestamp ToProtoTime(absl::Time time) {
  google::protobuf::Timestamp proto;
  if (time >= absl::FromUnixSeconds(kMaxTimestampSeconds)) {
    proto.set_seconds(kMaxTimestampSeconds);
    return proto;
  }
  if (time <= absl::FromUnixSeconds(kMinTimestampSeconds)) {
    proto.set_seconds(kMinTimestampSeconds);
    return proto;
  }
  const int64_t seconds = absl::ToUnixSeconds(time);  // Rounds down, so nanos is never negative.
  proto.set_seconds(seconds);
  proto.set_nanos(
      static_cast<int32_t>(absl::ToInt64Nanoseconds(time - absl::FromUnixSeconds(seconds))));
  return proto;
}

absl::Time FromProtoTime(const google::protobuf::Timestamp& proto) {
  return absl::FromUnixSeconds(proto.seconds()) + absl::Nanoseconds(proto.nanos());
}

google::protobuf::Duration ToProtoDuration(absl::Duration duration) {
  google::protobuf::Duration proto;
  if (duration >= absl::Seconds(kMaxDurationSeconds)) {
    proto.set_seconds(kMaxDurationSeconds);
    return proto;
  }
  if (duration <= -absl::Seconds(kMaxDurationSeconds)) {
    proto.set_seconds(-kMaxDurationSeconds);
    return proto;
  }
  absl::Duration rest;
  proto.set_seconds(absl::IDivDuration(duration, absl::Seconds(1), &rest));
  proto.set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(rest)));
  return proto;
}

absl::Duration FromProtoDuration(const google::protobuf::Duration& proto) {
  return absl::Seconds(proto.seconds()) + absl::Nanoseconds(proto.nanos());
}

bool IsValid(const google::protobuf::Timestamp& proto) {
  return proto.seconds() >= kMinTimestampSeconds && proto.seconds() <= kMaxTimestampSeconds &&
         proto.nanos() >= 0 && proto.nanos() <= kMaxNanos;
}

bool IsValid(const google::protobuf::Duration& proto) {
  if (proto.seconds() < -kMaxDurationSeconds || proto.seconds() > kMaxDurationSeconds) return false;
  if (proto.nanos() < -kMaxNanos || proto.nanos() > kMaxNanos) return false;
  if (proto.seconds() > 0 && proto.nanos() < 0) return false;
  if (proto.seconds() < 0 && proto.nanos() > 0) return false;
  return true;
}

std::string FormatRfc3339(absl::Time time) {
  return absl::FormatTime("%E4Y-%m-%d%ET%H:%M:%E6SZ", time, absl::UTCTimeZone());
}

}  // namespace finetuned
