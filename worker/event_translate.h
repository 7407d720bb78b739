#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "absl/time/time.h"
#include "artifacts/metric_file.h"
#include "finetuned/v1/event.pb.h"
#include "worker/attempt_facts.h"

// From a line of the trainer's event file to what the daemon is told. Pure: no files, no clock but
// an argument.

namespace finetuned {

// A `checkpoint` line: to be published before it is reported.
struct CheckpointLine {
  // Folder in the attempt's staging folder, one component.
  std::string name;
  // Folder of the Hugging Face export, relative to the staging folder; empty for none.
  std::string huggingface;
  int64_t step = 0;
  int64_t tokens = 0;
  std::map<std::string, double> metrics;
};

// What a line comes to: an event, or a checkpoint to publish first, or neither (then only the facts
// changed).
struct Translated {
  std::optional<v1::RunEvent> event;
  std::optional<CheckpointLine> checkpoint;
};

inline constexpr size_t kMaxMetrics = 63;
// A report is at most 64 KiB; an unknown line keeps its beginning.
inline constexpr size_t kMaxRawJsonBytes = 48 * 1024;

// Translates one line and brings the facts up to date. `now` stands in where the line has no time
// of its own. Never fails: what is not understood becomes OTHER with the line as it came.
Translated TranslateLine(std::string_view line, absl::Time now, AttemptFacts& facts);

// The numbers of one line.
struct MetricLine {
  MetricRow row;
  // Of a batch; else of an evaluation.
  bool is_progress = false;
};

// The numbers of a line, all that it has, where it is one of progress or of an evaluation and has
// any. What is no finite number, JSON's null among them, is NaN. Never fails.
std::optional<MetricLine> MetricsOfLine(std::string_view line, absl::Time now);

// An event of type OTHER with this text as its raw JSON: as it is when it is JSON, quoted
// otherwise.
v1::RunEvent OtherEvent(std::string_view text, absl::Time when);

// Python's json writes NaN and Infinity, which are not JSON, and some write numbers that no double
// can hold: replaces them by null outside of strings.
std::string WithoutNonFinite(std::string_view line);

}  // namespace finetuned
