#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "finetuned/v1/recipe.pb.h"

// The flags that say how weights are trained, as they were given.

namespace finetuned::cli {

struct RecipeFlags {
  std::optional<int32_t> batch_size;
  std::optional<int32_t> micro_batch_size;
  std::string schedule;
  std::optional<double> warm_up;
  std::string optimizer;
  std::optional<double> weight_decay;
  std::optional<double> max_gradient_norm;
  std::string precision;
  std::optional<bool> packing;
  std::optional<int32_t> seed;
  // Also given by any of those after it; false takes adapters away that the run beneath has.
  std::optional<bool> lora;
  std::optional<int32_t> lora_rank;
  std::optional<double> lora_alpha;
  std::optional<double> lora_dropout;
  std::vector<std::string> lora_targets;
};

// Sets what was given and leaves the rest as it is. Pure. Usage error for what cannot be read.
absl::Status FillRecipe(const RecipeFlags& flags, v1::Recipe* recipe);
// Whether any flag was given.
bool IsGiven(const RecipeFlags& flags);

}  // namespace finetuned::cli
