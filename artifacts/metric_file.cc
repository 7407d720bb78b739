#include "artifacts/metric_file.h"

#include <cstring>

#include "base/crc32.h"

namespace finetuned {
namespace {

constexpr size_t kHeaderBytes = 8;
constexpr int kValueBytes = 8;

void PutFixed32(std::string& out, uint32_t value) {
  for (int i = 0; i < 4; ++i) out.push_back(static_cast<char>(value >> (8 * i)));
}

uint32_t Fixed32(std::string_view data) {
  uint32_t value = 0;
  for (int i = 0; i < 4; ++i) {
    value |= static_cast<uint32_t>(static_cast<unsigned char>(data[i])) << (8 * i);
  }
  return value;
}

void PutVarint(std::string& out, uint64_t value) {
  while (value >= 0x80) {
    out.push_back(static_cast<char>(value | 0x80));
    value >>= 7;
  }
  out.push_back(static_cast<char>(value));
}

// Differences are taken of unsigned numbers, so that none overflows.
void PutDifference(std::string& out, int64_t value, int64_t before) {
  const auto difference =
      static_cast<int64_t>(static_cast<uint64_t>(value) - static_cast<uint64_t>(before));
  PutVarint(out, (static_cast<uint64_t>(difference) << 1) ^
                     (difference < 0 ? ~uint64_t{0} : uint64_t{0}));
}

void PutValue(std::string& out, uint64_t bits) {
  int high = 0;
  int low = 0;
  while (high < kValueBytes && (bits >> (8 * (kValueBytes - 1 - high)) & 0xFF) == 0) ++high;
  while (high + low < kValueBytes && (bits >> (8 * low) & 0xFF) == 0) ++low;
  out.push_back(static_cast<char>(high << 4 | low));
  for (int i = low; i < kValueBytes - high; ++i) out.push_back(static_cast<char>(bits >> (8 * i)));
}

uint64_t BitsOf(double value) {
  uint64_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

double DoubleOf(uint64_t bits) {
  double value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// Takes a payload apart; after the first failure all that follows fails.
class Parser {
 public:
  explicit Parser(std::string_view data) : data_(data) {}

  bool ok() const { return ok_; }
  bool empty() const { return data_.empty(); }
  size_t left() const { return data_.size(); }

  uint64_t Varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const uint8_t byte = Byte();
      value |= static_cast<uint64_t>(byte & 0x7F) << shift;
      if ((byte & 0x80) == 0) return value;
    }
    ok_ = false;
    return 0;
  }

  int64_t After(int64_t before) {
    const uint64_t coded = Varint();
    const uint64_t difference = (coded >> 1) ^ ((coded & 1) ? ~uint64_t{0} : uint64_t{0});
    return static_cast<int64_t>(static_cast<uint64_t>(before) + difference);
  }

  uint64_t Value() {
    const uint8_t zeros = Byte();
    const int high = zeros >> 4;
    const int low = zeros & 0xF;
    if (high + low > kValueBytes) ok_ = false;
    uint64_t bits = 0;
    for (int i = low; ok_ && i < kValueBytes - high; ++i) {
      bits |= static_cast<uint64_t>(Byte()) << (8 * i);
    }
    return bits;
  }

  std::string_view Bytes(size_t count) {
    if (count > data_.size()) {
      ok_ = false;
      return {};
    }
    const std::string_view bytes = data_.substr(0, count);
    data_.remove_prefix(count);
    return bytes;
  }

  uint8_t Byte() {
    const std::string_view byte = Bytes(1);
    return byte.empty() ? 0 : static_cast<uint8_t>(byte[0]);
  }

 private:
  std::string_view data_;
  bool ok_ = true;
};

}  // namespace

void MetricEncoder::Reset() {
  ids_.clear();
  values_.clear();
  columns_.clear();
  step_ = 0;
  time_ = 0;
  since_reset_ = 0;
}

void MetricEncoder::PutRow(const MetricRow& row, std::string& names, size_t& name_count,
                           std::string& rows) {
  std::vector<uint32_t> columns;
  std::vector<double> values;
  columns.reserve(row.values.size());
  for (const auto& [name, value] : row.values) {
    auto found = ids_.find(name);
    if (found == ids_.end()) {
      if (ids_.size() >= kMaxMetricNames || name.empty() || name.size() > kMaxSeriesNameBytes) {
        names_dropped_ = true;
        continue;
      }
      found = ids_.emplace(name, static_cast<uint32_t>(ids_.size())).first;
      values_.push_back(0);
      PutVarint(names, name.size());
      names += name;
      ++name_count;
    }
    columns.push_back(found->second);
    values.push_back(value);
  }
  PutDifference(rows, row.step, step_);
  PutDifference(rows, row.time_millis, time_);
  step_ = row.step;
  time_ = row.time_millis;
  if (columns == columns_) {
    PutVarint(rows, 0);
  } else {
    // One more than there are, which may be none.
    PutVarint(rows, columns.size() + 1);
    for (const uint32_t column : columns) PutVarint(rows, column);
    columns_ = columns;
  }
  for (size_t i = 0; i < columns.size(); ++i) {
    const uint64_t bits = BitsOf(values[i]);
    PutValue(rows, bits ^ values_[columns[i]]);
    values_[columns[i]] = bits;
  }
}

std::string MetricEncoder::Encode(const std::vector<MetricRow>& rows, uint8_t flags) {
  std::string out;
  size_t next = 0;
  while (next < rows.size()) {
    uint8_t frame_flags = 0;
    if (fresh_ || since_reset_ >= kResetInterval) {
      Reset();
      fresh_ = false;
      frame_flags |= kReset;
    }
    std::string names;
    std::string coded;
    size_t name_count = 0;
    size_t row_count = 0;
    while (next < rows.size() && names.size() + coded.size() < kFrameBytes) {
      PutRow(rows[next++], names, name_count, coded);
      ++row_count;
    }
    if (names_dropped_) frame_flags |= kNamesDropped;
    if (next == rows.size()) frame_flags |= flags;
    std::string payload(1, static_cast<char>(frame_flags));
    PutVarint(payload, name_count);
    payload += names;
    PutVarint(payload, row_count);
    payload += coded;
    PutFixed32(out, static_cast<uint32_t>(payload.size()));
    PutFixed32(out, Crc32(payload));
    out += payload;
    since_reset_ += static_cast<int64_t>(payload.size() + kHeaderBytes);
  }
  return out;
}

absl::StatusOr<size_t> MetricDecoder::Take(std::string_view data, size_t max_bytes,
                                           MetricVisitor visitor) {
  size_t taken = 0;
  while (data.size() - taken >= kHeaderBytes && (taken == 0 || taken < max_bytes)) {
    const std::string_view rest = data.substr(taken);
    const size_t length = Fixed32(rest);
    if (length > kMaxFrameBytes) return absl::DataLossError("a metric file has no frame here");
    if (rest.size() < kHeaderBytes + length) break;
    const std::string_view payload = rest.substr(kHeaderBytes, length);
    if (Crc32(payload) != Fixed32(rest.substr(4))) {
      return absl::DataLossError("a frame of a metric file is damaged");
    }
    if (!payload.empty() && (static_cast<uint8_t>(payload[0]) & kReset) != 0) {
      reset_offset_ = taken_ + static_cast<int64_t>(taken);
    }
    if (const absl::Status status = TakePayload(payload, visitor); !status.ok()) return status;
    taken += kHeaderBytes + length;
  }
  taken_ += static_cast<int64_t>(taken);
  return taken;
}

absl::Status MetricDecoder::TakePayload(std::string_view payload, MetricVisitor visitor) {
  const absl::Status damaged = absl::DataLossError("a frame of a metric file makes no sense");
  Parser parser(payload);
  const uint8_t flags = parser.Byte();
  flags_ |= flags;
  if ((flags & kReset) != 0) {
    names_.clear();
    values_.clear();
    columns_.clear();
    step_ = 0;
    time_ = 0;
    begun_ = true;
  }
  if (!begun_) return damaged;
  const uint64_t name_count = parser.Varint();
  if (name_count > kMaxMetricNames - names_.size()) return damaged;
  for (uint64_t i = 0; i < name_count && parser.ok(); ++i) {
    const uint64_t length = parser.Varint();
    if (length > kMaxSeriesNameBytes) return damaged;
    names_.emplace_back(parser.Bytes(length));
    values_.push_back(0);
  }
  const uint64_t row_count = parser.Varint();
  // Each takes a byte at the very least.
  if (row_count > parser.left()) return damaged;
  for (uint64_t i = 0; i < row_count && parser.ok(); ++i) {
    step_ = parser.After(step_);
    time_ = parser.After(time_);
    const uint64_t count = parser.Varint();
    if (count > kMaxMetricNames + 1) return damaged;
    if (count > 0) {
      columns_.resize(count - 1);
      for (uint32_t& column : columns_) {
        const uint64_t number = parser.Varint();
        if (number >= names_.size()) return damaged;
        column = static_cast<uint32_t>(number);
      }
    }
    for (const uint32_t column : columns_) {
      values_[column] ^= parser.Value();
      if (!parser.ok()) return damaged;
      visitor(step_, time_, names_[column], DoubleOf(values_[column]));
    }
  }
  return parser.ok() && parser.empty() ? absl::OkStatus() : damaged;
}

}  // namespace finetuned
