#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"

// The metric file of an attempt: every number that its trainer has reported, compactly. A worker
// appends frames to it, the daemon reads them. Pure but for the callers' files.
//
// A frame is the length of its payload and the payload's CRC-32, 4 bytes each, little-endian, and
// the payload: flags (1 byte), new names (their count, then length and bytes of each), and rows
// (their count, then each). A row is the step and the time in milliseconds, as differences to the
// row before; one more than the count of its values, and the numbers of their names, or 0 for those
// of the row before; and the values. A value is what differs from the value before of that name:
// bit by bit, without the bytes of zeros at either end. Counts and differences are of variable
// length, 7 bits a byte, signed ones zigzagged. A frame with kReset begins anew, without names or a
// row before: a reader may begin there.

namespace finetuned {

// What a trainer said of one step at one time.
struct MetricRow {
  int64_t step = 0;
  int64_t time_millis = 0;
  // By name; a name stands once. May be no finite numbers.
  std::vector<std::pair<std::string, double>> values;
};

// One value of a row.
using MetricVisitor = absl::FunctionRef<void(int64_t step, int64_t time_millis,
                                             const std::string& name, double value)>;

// Names that a file keeps at most; values of others are dropped.
inline constexpr size_t kMaxMetricNames = 1000;
inline constexpr size_t kMaxSeriesNameBytes = 128;
// A frame is ended when its payload reaches the first, and is never longer than the second, which
// holds a row with as many values and new names as there may be.
inline constexpr size_t kFrameBytes = 32 << 10;
inline constexpr size_t kMaxFrameBytes = 256 << 10;
// How much a reader must read at most to begin anywhere.
inline constexpr int64_t kResetInterval = 1 << 20;

enum MetricFlags : uint8_t {
  kReset = 1,
  // Values of further names have been dropped.
  kNamesDropped = 2,
  // The file has reached its limit: rows after these have been dropped.
  kFull = 4,
};

// Makes frames. What it returns is to be appended to a file at where the frames before ended; it
// begins with a reset, so a new one may go on where another stopped. Not safe for concurrent use.
class MetricEncoder {
 public:
  // The rows in one frame or more; empty for none. `flags` are added to those of the last frame.
  std::string Encode(const std::vector<MetricRow>& rows, uint8_t flags = 0);

 private:
  void Reset();
  void PutRow(const MetricRow& row, std::string& names, size_t& name_count, std::string& rows);

  bool fresh_ = true;
  bool names_dropped_ = false;
  int64_t since_reset_ = 0;
  std::unordered_map<std::string, uint32_t> ids_;
  std::vector<uint64_t> values_;
  std::vector<uint32_t> columns_;
  int64_t step_ = 0;
  int64_t time_ = 0;
};

// Reads frames, in their order. Not safe for concurrent use.
class MetricDecoder {
 public:
  // Takes whole frames off the front of `data`, at most about `max_bytes` of them but one at least,
  // and shows their values. Returns the bytes taken: 0 where a whole frame has yet to come.
  // DATA_LOSS for what is no frame; some of its values may have been shown.
  absl::StatusOr<size_t> Take(std::string_view data, size_t max_bytes, MetricVisitor visitor);

  // Where in what was taken the newest reset stands.
  int64_t reset_offset() const { return reset_offset_; }
  // Of all frames so far.
  uint8_t flags() const { return flags_; }

 private:
  absl::Status TakePayload(std::string_view payload, MetricVisitor visitor);

  int64_t taken_ = 0;
  int64_t reset_offset_ = 0;
  uint8_t flags_ = 0;
  bool begun_ = false;
  std::vector<std::string> names_;
  std::vector<uint64_t> values_;
  std::vector<uint32_t> columns_;
  int64_t step_ = 0;
  int64_t time_ = 0;
};

}  // namespace finetuned
