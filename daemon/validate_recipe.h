#pragma once

#include "daemon/checker.h"
#include "finetuned/v1/recipe.pb.h"

namespace finetuned {

// Checks every field of a recipe and resolves its defaults; violations name fields under
// `run.spec.recipe`. Pure.
void CheckRecipe(v1::Recipe* recipe, Checker* check);

}  // namespace finetuned
