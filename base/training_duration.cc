#include "base/training_duration.h"

namespace finetuned {

std::optional<TrainingDuration> ParseTrainingDuration(std::string_view text) {
  constexpr size_t kMaxDigits = 15;
  size_t digits = 0;
  TrainingDuration duration;
  while (digits < text.size() && text[digits] >= '0' && text[digits] <= '9') {
    if (digits == kMaxDigits) return std::nullopt;
    duration.value = duration.value * 10 + (text[digits] - '0');
    ++digits;
  }
  if (digits == 0 || text[0] == '0') return std::nullopt;
  const std::string_view unit = text.substr(digits);
  if (unit == "ep") {
    duration.unit = TrainingDuration::Unit::kEpochs;
  } else if (unit == "ba") {
    duration.unit = TrainingDuration::Unit::kBatches;
  } else if (unit == "tok") {
    duration.unit = TrainingDuration::Unit::kTokens;
  } else {
    return std::nullopt;
  }
  return duration;
}

}  // namespace finetuned
