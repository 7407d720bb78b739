#include "cli/recipe_flags.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "cli/errors.h"

namespace finetuned::cli {
namespace {

bool HasLoraSetting(const RecipeFlags& flags) {
  return flags.lora_rank || flags.lora_alpha || flags.lora_dropout || !flags.lora_targets.empty();
}

// The value with the name that `text` is, in any case.
template <typename Enum>
absl::StatusOr<Enum> ParseName(const std::string& flag, const std::string& text,
                               bool (*parse)(google::protobuf::ConstStringParam, Enum*),
                               const char* names) {
  Enum value{};
  if (parse(absl::AsciiStrToUpper(text), &value) && value != Enum{}) return value;
  return UsageError(absl::StrCat(flag, " is `", text, "`; give ", names, "."));
}

void FillLora(const RecipeFlags& flags, v1::Lora* lora) {
  // What was resolved from a rank goes with it.
  if (flags.lora_rank && lora->alpha() == 2.0 * lora->rank()) lora->clear_alpha();
  if (flags.lora_rank) lora->set_rank(*flags.lora_rank);
  if (flags.lora_alpha) lora->set_alpha(*flags.lora_alpha);
  if (flags.lora_dropout) lora->set_dropout(*flags.lora_dropout);
  if (!flags.lora_targets.empty()) lora->clear_target_modules();
  for (const std::string& target : flags.lora_targets) lora->add_target_modules(target);
}

}  // namespace

bool IsGiven(const RecipeFlags& flags) {
  return flags.batch_size || flags.micro_batch_size || !flags.schedule.empty() || flags.warm_up ||
         !flags.optimizer.empty() || flags.weight_decay || flags.max_gradient_norm ||
         !flags.precision.empty() || flags.packing || flags.seed || flags.lora ||
         HasLoraSetting(flags);
}

absl::Status FillRecipe(const RecipeFlags& flags, v1::Recipe* recipe) {
  using v1::Recipe;
  // What was resolved from the size of a batch goes with it.
  if (flags.batch_size && recipe->micro_batch_size() == recipe->batch_size()) {
    recipe->clear_micro_batch_size();
  }
  if (flags.batch_size) recipe->set_batch_size(*flags.batch_size);
  if (flags.micro_batch_size) recipe->set_micro_batch_size(*flags.micro_batch_size);
  if (!flags.schedule.empty()) {
    FT_ASSIGN_OR_RETURN(
        const Recipe::Schedule schedule,
        ParseName<Recipe::Schedule>("--schedule", flags.schedule, &Recipe::Schedule_Parse,
                                    "linear, cosine or constant"));
    recipe->set_schedule(schedule);
  }
  if (flags.warm_up) recipe->set_warm_up_fraction(*flags.warm_up);
  if (!flags.optimizer.empty()) {
    const std::string name = absl::AsciiStrToLower(flags.optimizer) == "lion"
                                 ? Recipe::Optimizer_Name(Recipe::DECOUPLED_LION)
                                 : flags.optimizer;
    FT_ASSIGN_OR_RETURN(const Recipe::Optimizer optimizer,
                        ParseName<Recipe::Optimizer>("--optimizer", name, &Recipe::Optimizer_Parse,
                                                     "lion (DECOUPLED_LION) or adamw"));
    recipe->set_optimizer(optimizer);
  }
  if (flags.weight_decay) recipe->set_weight_decay(*flags.weight_decay);
  if (flags.max_gradient_norm) recipe->set_max_gradient_norm(*flags.max_gradient_norm);
  if (!flags.precision.empty()) {
    FT_ASSIGN_OR_RETURN(
        const Recipe::Precision precision,
        ParseName<Recipe::Precision>("--precision", flags.precision, &Recipe::Precision_Parse,
                                     "auto, float32 or bfloat16"));
    recipe->set_precision(precision);
  }
  if (flags.packing) recipe->set_packing(*flags.packing);
  if (flags.seed) recipe->set_seed(*flags.seed);
  if (flags.lora == false) {
    if (HasLoraSetting(flags)) {
      return UsageError("--no-lora is given beside a flag that says how adapters are; give one.");
    }
    recipe->clear_lora();
  } else if (flags.lora || HasLoraSetting(flags)) {
    FillLora(flags, recipe->mutable_lora());
  }
  return absl::OkStatus();
}

}  // namespace finetuned::cli
