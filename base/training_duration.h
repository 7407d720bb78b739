#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace finetuned {

// How long to train or how often to save: `1ep`, `30ba`, `10000tok`. The grammar is narrower than
// that of the trainers (Composer's reads nan, underscores and full-width digits):
// `^[1-9][0-9]{0,14}(ep|ba|tok)$`.
struct TrainingDuration {
  enum class Unit { kEpochs, kBatches, kTokens };
  int64_t value = 0;
  Unit unit = Unit::kEpochs;
};

// Nothing for a text outside the grammar.
std::optional<TrainingDuration> ParseTrainingDuration(std::string_view text);

// For error messages.
inline constexpr char kTrainingDurationForms[] =
    "a positive whole number and ep, ba or tok, e.g. 3ep, 100ba, 1000000tok";

}  // namespace finetuned
