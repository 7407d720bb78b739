#include "daemon/validate_recipe.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace finetuned {
namespace {

using v1::Recipe;

constexpr int kDefaultBatchSize = 8;
constexpr int kMaxBatchSize = 4096;
constexpr double kDefaultWarmUp = 0.02;
constexpr double kDefaultGradientNorm = 1;
constexpr double kMaxGradientNorm = 1e6;
constexpr int kDefaultSeed = 17;
constexpr int kDefaultRank = 16;
constexpr int kMaxRank = 1024;
constexpr double kMaxAlpha = 1e6;
constexpr double kMaxDropout = 0.99;

// The matrices of a decoder layer, in the order in which they are echoed.
constexpr const char* kTargets[] = {"q_proj",    "k_proj",  "v_proj",   "o_proj",
                                    "gate_proj", "up_proj", "down_proj"};

// NaN is in no range.
bool IsFrom(double value, double least, double most) { return value >= least && value <= most; }

void CheckTargets(v1::Lora* lora, Checker* check) {
  std::set<std::string> wanted(lora->target_modules().begin(), lora->target_modules().end());
  const bool all = wanted.empty();
  lora->clear_target_modules();
  for (const char* target : kTargets) {
    if (all || wanted.erase(target) > 0) lora->add_target_modules(target);
  }
  check->Require(
      wanted.empty(), "run.spec.recipe.lora.target_modules",
      absl::StrCat("must be some of ", absl::StrJoin(kTargets, ", "), ", the names in a Llama"));
}

void CheckLora(v1::Lora* lora, Checker* check) {
  if (lora->rank() == 0) lora->set_rank(kDefaultRank);
  check->Require(lora->rank() >= 1 && lora->rank() <= kMaxRank, "run.spec.recipe.lora.rank",
                 "must be from 1 to 1024");
  if (lora->alpha() == 0) lora->set_alpha(2.0 * lora->rank());
  check->Require(lora->alpha() > 0 && lora->alpha() <= kMaxAlpha, "run.spec.recipe.lora.alpha",
                 "must be above 0 and at most 1000000");
  check->Require(IsFrom(lora->dropout(), 0, kMaxDropout), "run.spec.recipe.lora.dropout",
                 "must be from 0 to 0.99");
  CheckTargets(lora, check);
}

// Resolves an enum and refuses a number that has no name.
template <typename Enum>
Enum Chosen(Enum given, Enum otherwise, bool valid, const std::string& field, const char* names,
            Checker* check) {
  check->Require(valid, field, absl::StrCat("is none of ", names));
  return given == Enum{} ? otherwise : given;
}

}  // namespace

void CheckRecipe(Recipe* recipe, Checker* check) {
  if (recipe->batch_size() == 0) recipe->set_batch_size(kDefaultBatchSize);
  const bool good_batch = recipe->batch_size() >= 1 && recipe->batch_size() <= kMaxBatchSize;
  check->Require(good_batch, "run.spec.recipe.batch_size", "must be from 1 to 4096");
  if (recipe->micro_batch_size() == 0) recipe->set_micro_batch_size(recipe->batch_size());
  check->Require(!good_batch || (recipe->micro_batch_size() >= 1 &&
                                 recipe->micro_batch_size() <= recipe->batch_size()),
                 "run.spec.recipe.micro_batch_size",
                 absl::StrCat("must be from 1 to the batch_size, ", recipe->batch_size()));
  recipe->set_schedule(Chosen(recipe->schedule(), Recipe::LINEAR,
                              Recipe::Schedule_IsValid(recipe->schedule()),
                              "run.spec.recipe.schedule", "LINEAR, COSINE, CONSTANT", check));
  recipe->set_optimizer(Chosen(recipe->optimizer(), Recipe::DECOUPLED_LION,
                               Recipe::Optimizer_IsValid(recipe->optimizer()),
                               "run.spec.recipe.optimizer", "DECOUPLED_LION, ADAMW", check));
  recipe->set_precision(Chosen(recipe->precision(), Recipe::AUTO,
                               Recipe::Precision_IsValid(recipe->precision()),
                               "run.spec.recipe.precision", "AUTO, FLOAT32, BFLOAT16", check));
  if (!recipe->has_warm_up_fraction()) recipe->set_warm_up_fraction(kDefaultWarmUp);
  check->Require(IsFrom(recipe->warm_up_fraction(), 0, 1), "run.spec.recipe.warm_up_fraction",
                 "must be from 0 to 1");
  if (!recipe->has_weight_decay()) recipe->set_weight_decay(0);
  check->Require(IsFrom(recipe->weight_decay(), 0, 1), "run.spec.recipe.weight_decay",
                 "must be from 0 to 1");
  if (!recipe->has_max_gradient_norm()) recipe->set_max_gradient_norm(kDefaultGradientNorm);
  check->Require(IsFrom(recipe->max_gradient_norm(), 0, kMaxGradientNorm),
                 "run.spec.recipe.max_gradient_norm", "must be from 0 (not clipped) to 1000000");
  if (recipe->seed() == 0) recipe->set_seed(kDefaultSeed);
  check->Require(recipe->seed() > 0, "run.spec.recipe.seed", "must be from 1 to 2147483647");
  if (recipe->has_lora()) CheckLora(recipe->mutable_lora(), check);
}

}  // namespace finetuned
