#pragma once

#include <string>

#include "absl/time/time.h"
#include "google/protobuf/duration.pb.h"
#include "google/protobuf/timestamp.pb.h"

// Conversions between Abseil's times and those of Protocol Buffers. Infinite values become the
// limits of the Protocol Buffers types.

namespace finetuned {

google::protobuf::Timestamp ToProtoTime(absl::Time time);
absl::Time FromProtoTime(const google::protobuf::Timestamp& proto);
google::protobuf::Duration ToProtoDuration(absl::Duration duration);
absl::Duration FromProtoDuration(const google::protobuf::Duration& proto);

// Whether a value is inside the ranges that the types document: years 1 to 9999; about 10,000
// years; nanos in range and of the same sign.
bool IsValid(const google::protobuf::Timestamp& proto);
bool IsValid(const google::protobuf::Duration& proto);

// RFC 3339 in UTC with microseconds, e.g. `2026-11-23T16:40:01.120000Z`.
std::string FormatRfc3339(absl::Time time);

}  // namespace finetuned
