#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace finetuned {

// What the worker knows about an attempt from its trainer's lines so far. Kept with every record of
// the journal, so that a restarted agent goes on from exactly where the durable reports end. A
// plain value.
struct AttemptFacts {
  bool started = false;
  bool train_finished = false;
  bool preempt_acknowledged = false;
  // The highest batch that a progress line named.
  int64_t last_step = 0;
  // The newest checkpoint: published by this attempt, or the one it was resumed from.
  std::string checkpoint_name;
  int64_t checkpoint_step = -1;
  // Number of the report of the newest published checkpoint; 0 for none.
  int64_t checkpoint_report = 0;
  // Why the newest checkpoint could not be published; empty when it was.
  std::string publish_error;
  // From a `failed` line.
  std::string failure_code;
  std::string failure_message;
  std::string failure_attribution;

  // How far the numbers of its lines are in its metric file: MetricLog::Position.
  int64_t metric_lines_bytes = 0;
  int64_t metric_file_bytes = 0;

  // For the estimate of the remaining time, microseconds of the trainer's clock; 0 for not yet.
  int64_t train_start_us = 0;
  int64_t train_start_step = 0;
  int64_t train_start_tokens = 0;
  // Time spent saving checkpoints since then.
  int64_t excluded_us = 0;
  // Time of the newest line.
  int64_t last_line_us = 0;
};

std::string FactsToJson(const AttemptFacts& facts);
// What cannot be read keeps its initial value.
AttemptFacts FactsFromJson(std::string_view text);

}  // namespace finetuned
