#include "daemon/validate_recipe.h"

#include <cmath>
#include <functional>
#include <limits>

#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

namespace finetuned {
namespace {

using google::protobuf::util::MessageDifferencer;
using v1::Recipe;

std::vector<FieldViolation> Check(Recipe* recipe) {
  Checker check;
  CheckRecipe(recipe, &check);
  return check.violations();
}

TEST(CheckRecipe, ResolvesEveryDefault) {
  Recipe recipe;
  recipe.mutable_lora();
  EXPECT_TRUE(Check(&recipe).empty());
  EXPECT_EQ(recipe.ShortDebugString(),
            "batch_size: 8 micro_batch_size: 8 schedule: LINEAR warm_up_fraction: 0.02 "
            "optimizer: DECOUPLED_LION weight_decay: 0 max_gradient_norm: 1 precision: AUTO lora { "
            "rank: 16 alpha: 32 target_modules: \"q_proj\" target_modules: \"k_proj\" "
            "target_modules: \"v_proj\" target_modules: \"o_proj\" target_modules: \"gate_proj\" "
            "target_modules: \"up_proj\" target_modules: \"down_proj\" } seed: 17");
  // What is resolved stays as it is.
  const Recipe once = recipe;
  EXPECT_TRUE(Check(&recipe).empty());
  EXPECT_TRUE(MessageDifferencer::Equals(once, recipe));
  Recipe plain;
  Check(&plain);
  EXPECT_FALSE(plain.has_lora());
}

TEST(CheckRecipe, KeepsWhatIsGiven) {
  Recipe recipe;
  recipe.set_batch_size(4096);
  recipe.set_micro_batch_size(1);
  recipe.set_schedule(Recipe::COSINE);
  recipe.set_warm_up_fraction(0);
  recipe.set_optimizer(Recipe::ADAMW);
  recipe.set_weight_decay(1);
  recipe.set_max_gradient_norm(0);
  recipe.set_precision(Recipe::BFLOAT16);
  recipe.set_packing(true);
  recipe.set_seed(std::numeric_limits<int>::max());
  recipe.mutable_lora()->set_rank(1024);
  recipe.mutable_lora()->set_alpha(1e6);
  recipe.mutable_lora()->set_dropout(0.99);
  recipe.mutable_lora()->add_target_modules("q_proj");
  const Recipe given = recipe;
  EXPECT_TRUE(Check(&recipe).empty());
  EXPECT_TRUE(MessageDifferencer::Equals(given, recipe)) << recipe.DebugString();
}

TEST(CheckRecipe, RefusesAndNamesTheField) {
  const double nan = std::nan("");
  const double infinity = std::numeric_limits<double>::infinity();
  struct Row {
    std::string field;
    std::function<void(Recipe*)> spoil;
  };
  std::vector<Row> rows;
  for (const int bad : {-1, 4097, std::numeric_limits<int>::min()}) {
    rows.push_back({"batch_size", [=](Recipe* recipe) { recipe->set_batch_size(bad); }});
  }
  for (const int bad : {-1, 9}) {
    rows.push_back({"micro_batch_size", [=](Recipe* r) { r->set_micro_batch_size(bad); }});
  }
  for (const int bad : {4, -1, 999}) {
    rows.push_back(
        {"schedule", [=](Recipe* r) { r->set_schedule(static_cast<Recipe::Schedule>(bad)); }});
    rows.push_back(
        {"optimizer", [=](Recipe* r) { r->set_optimizer(static_cast<Recipe::Optimizer>(bad)); }});
    rows.push_back(
        {"precision", [=](Recipe* r) { r->set_precision(static_cast<Recipe::Precision>(bad)); }});
  }
  for (const double bad : {-0.1, 1.1, nan, infinity, -infinity}) {
    rows.push_back({"warm_up_fraction", [=](Recipe* r) { r->set_warm_up_fraction(bad); }});
    rows.push_back({"weight_decay", [=](Recipe* r) { r->set_weight_decay(bad); }});
    rows.push_back({"lora.dropout", [=](Recipe* r) { r->mutable_lora()->set_dropout(bad); }});
  }
  for (const double bad : {-1.0, 1e7, nan, infinity}) {
    rows.push_back({"max_gradient_norm", [=](Recipe* r) { r->set_max_gradient_norm(bad); }});
    rows.push_back({"lora.alpha", [=](Recipe* r) { r->mutable_lora()->set_alpha(bad); }});
  }
  rows.push_back({"seed", [](Recipe* r) { r->set_seed(-1); }});
  for (const int bad : {-1, 1025}) {
    rows.push_back({"lora.rank", [=](Recipe* r) { r->mutable_lora()->set_rank(bad); }});
  }
  for (const char* bad : {"", "lm_head", "Q_PROJ", "q_proj "}) {
    rows.push_back(
        {"lora.target_modules", [=](Recipe* r) { r->mutable_lora()->add_target_modules(bad); }});
  }
  for (const Row& row : rows) {
    Recipe recipe;
    row.spoil(&recipe);
    // A rank below 0 would make alpha wrong too.
    if (row.field == "lora.rank") recipe.mutable_lora()->set_alpha(1);
    const std::string what = recipe.ShortDebugString();
    const std::vector<FieldViolation> violations = Check(&recipe);
    ASSERT_EQ(violations.size(), 1u) << what;
    EXPECT_EQ(violations[0].field, "run.spec.recipe." + row.field) << what;
    EXPECT_EQ(violations[0].reason, "BAD_VALUE");
    EXPECT_NE(violations[0].description, "");
  }
}

}  // namespace
}  // namespace finetuned
