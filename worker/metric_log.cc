#include "worker/metric_log.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "base/logging.h"
#include "base/status.h"
#include "worker/event_translate.h"

namespace finetuned {

absl::Status MetricLog::Advance(absl::Time now, const Further& further) {
  for (;;) {
    EventTail tail(event_file_, position_.lines_bytes);
    FT_ASSIGN_OR_RETURN(const std::vector<EventTail::Line> lines, tail.Read(/*at_end=*/false));
    if (lines.empty()) return absl::OkStatus();
    std::vector<MetricRow> rows;
    for (const EventTail::Line& line : lines) {
      std::optional<MetricLine> numbers = MetricsOfLine(line.text, now);
      if (!numbers.has_value()) continue;
      if (numbers->is_progress) {
        auto& values = numbers->row.values;
        for (const auto& [name, value] : further()) {
          // What the trainer calls so is the worker's all the same.
          const auto same =
              std::find_if(values.begin(), values.end(),
                           [&name = name](const auto& one) { return one.first == name; });
          if (same != values.end()) {
            same->second = value;
          } else {
            values.emplace_back(name, value);
          }
        }
      }
      rows.push_back(std::move(numbers->row));
    }
    if (!rows.empty() && position_.file_bytes < max_file_bytes_) {
      // What was encoded and not kept is in the encoder: it begins anew.
      MetricEncoder encoder = encoder_;
      std::string frames = encoder.Encode(rows);
      if (position_.file_bytes + static_cast<int64_t>(frames.size()) >= max_file_bytes_) {
        encoder = encoder_;
        frames = encoder.Encode(rows, kFull);
        Log(LogLevel::kWarning, "a metric file has reached its limit", {{"path", path_}});
      }
      FT_RETURN_IF_ERROR(store_.CheckMounted());
      const absl::Status written = store_.WriteAt(path_, position_.file_bytes, frames);
      if (absl::IsFailedPrecondition(written) && position_.file_bytes > 0) {
        // What was written before is gone: all of it again.
        position_ = Position();
        encoder_ = MetricEncoder();
        continue;
      }
      FT_RETURN_IF_ERROR(written);
      encoder_ = std::move(encoder);
      position_.file_bytes += static_cast<int64_t>(frames.size());
    }
    position_.lines_bytes = lines.back().end_offset;
  }
}

}  // namespace finetuned
