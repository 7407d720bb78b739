#include "cli/create_request.h"

#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/time.h"
#include "cli/errors.h"

namespace finetuned::cli {
namespace {

using ::testing::HasSubstr;

CreateFlags EveryFlag() {
  CreateFlags flags;
  flags.parent = "workspaces/w";
  flags.name = "run-1";
  flags.validate_only = true;
  flags.model = "finetuned/tiny-llama";
  flags.task = "instruction";
  flags.train_data = "data/train.jsonl";
  flags.eval_data = "/data/eval.jsonl";
  flags.eval_prompts = {"one", "two, with a comma"};
  flags.custom_weights = "a/checkpoints/ep1-ba1";
  flags.duration = "1ep";
  flags.learning_rate = 1e-5;
  flags.context_length = 512;
  flags.register_to = "main.default";
  flags.experiment = "/Users/a/x";
  flags.validate_inputs = true;
  flags.data_prep_cluster_id = "c";
  flags.save_interval = "30ba";
  flags.save_num_to_keep = 3;
  flags.recipe.batch_size = 16;
  flags.recipe.micro_batch_size = 2;
  flags.recipe.schedule = "cosine";
  flags.recipe.warm_up = 0.1;
  flags.recipe.optimizer = "AdamW";
  flags.recipe.weight_decay = 0.01;
  flags.recipe.max_gradient_norm = 0;
  flags.recipe.precision = "bfloat16";
  flags.recipe.packing = true;
  flags.recipe.seed = 5;
  flags.recipe.lora_rank = 4;
  flags.recipe.lora_alpha = 8;
  flags.recipe.lora_dropout = 0.1;
  flags.recipe.lora_targets = {"q_proj", "v_proj"};
  flags.gpus = 0;
  flags.gpu_type = "h200";
  flags.cpus = 4;
  flags.memory = "8GiB";
  flags.nodes = 1;
  flags.priority = "low";
  flags.max_retries = 2;
  flags.max_run_time = "2h";
  flags.max_queue_time = "3h";
  flags.labels = {"team=a", "note=x=y", "empty="};
  return flags;
}

// Every field of the message that a caller may set has a flag.
void ExpectAllSet(const google::protobuf::Message& message) {
  const auto* descriptor = message.GetDescriptor();
  for (int i = 0; i < descriptor->field_count(); ++i) {
    const auto* field = descriptor->field(i);
    const bool set = field->is_repeated() ? message.GetReflection()->FieldSize(message, field) > 0
                                          : message.GetReflection()->HasField(message, field);
    EXPECT_TRUE(set) << field->full_name();
  }
}

TEST(BuildCreateRequest, HasAFlagForEveryField) {
  const auto request = BuildCreateRequest(EveryFlag(), "/home/a", "generated");
  ASSERT_TRUE(request.ok()) << request.status();
  ExpectAllSet(*request);
  ExpectAllSet(request->run().spec());
  ExpectAllSet(request->run().spec().compute());
  ExpectAllSet(request->run().spec().recipe());
  ExpectAllSet(request->run().spec().recipe().lora());
  ExpectAllSet(request->run().spec().scheduling());
}

TEST(BuildCreateRequest, ARecipeIsThereOnlyWhereAFlagSaysSomething) {
  CreateFlags flags = EveryFlag();
  flags.recipe = {};
  EXPECT_FALSE(BuildCreateRequest(flags, "/home/a", "g")->run().spec().has_recipe());
  flags.recipe.lora = true;
  const auto request = BuildCreateRequest(flags, "/home/a", "g");
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->run().spec().recipe().ShortDebugString(), "lora { }");
  flags.recipe.optimizer = "LION";
  EXPECT_EQ(BuildCreateRequest(flags, "/home/a", "g")->run().spec().recipe().optimizer(),
            v1::Recipe::DECOUPLED_LION);
}

TEST(BuildCreateRequest, WhatWasResolvedFromAnotherValueGoesWithIt) {
  // As the server has echoed it for a run that is to be made again.
  v1::CreateRunRequest base;
  v1::Recipe& recipe = *base.mutable_run()->mutable_spec()->mutable_recipe();
  recipe.set_batch_size(8);
  recipe.set_micro_batch_size(8);
  recipe.mutable_lora()->set_rank(16);
  recipe.mutable_lora()->set_alpha(32);
  CreateFlags flags;
  flags.recipe.batch_size = 4;
  flags.recipe.lora_rank = 2;
  const auto changed = BuildCreateRequest(flags, "/home/a", "g", base);
  EXPECT_EQ(changed->run().spec().recipe().ShortDebugString(), "batch_size: 4 lora { rank: 2 }");
  recipe.set_micro_batch_size(2);
  recipe.mutable_lora()->set_alpha(5);
  const auto kept = BuildCreateRequest(flags, "/home/a", "g", base);
  EXPECT_EQ(kept->run().spec().recipe().ShortDebugString(),
            "batch_size: 4 micro_batch_size: 2 lora { rank: 2 alpha: 5 }");
}

TEST(BuildCreateRequest, RecipeWordsThatAreNoneAreNamed) {
  for (const auto& [set, flag] : std::vector<std::pair<std::string RecipeFlags::*, std::string>>{
           {&RecipeFlags::schedule, "--schedule"},
           {&RecipeFlags::optimizer, "--optimizer"},
           {&RecipeFlags::precision, "--precision"}}) {
    for (const char* bad : {"x", "schedule_unspecified", "OPTIMIZER_UNSPECIFIED"}) {
      CreateFlags flags = EveryFlag();
      flags.recipe.*set = bad;
      const auto request = BuildCreateRequest(flags, "/home/a", "g");
      EXPECT_EQ(ExitCodeOf(request.status()), kExitUsage);
      EXPECT_THAT(std::string(request.status().message()), HasSubstr(flag));
    }
  }
}

TEST(BuildCreateRequest, ReadsWhatPeopleWrite) {
  const auto request = BuildCreateRequest(EveryFlag(), "/home/a", "generated");
  ASSERT_TRUE(request.ok()) << request.status();
  const v1::RunSpec& spec = request->run().spec();
  EXPECT_EQ(request->request_id(), "generated");
  EXPECT_EQ(spec.task_type(), v1::RunSpec::INSTRUCTION_FINETUNE);
  EXPECT_EQ(spec.train_data_path(), "/home/a/data/train.jsonl");
  EXPECT_EQ(spec.eval_data_path(), "/data/eval.jsonl");
  EXPECT_EQ(spec.custom_weights_path(), "a/checkpoints/ep1-ba1");
  EXPECT_EQ(spec.eval_prompts(1), "two, with a comma");
  EXPECT_EQ(spec.compute().memory_bytes(), int64_t{8} << 30);
  EXPECT_TRUE(spec.compute().has_gpus());
  EXPECT_EQ(spec.scheduling().priority(), v1::Scheduling::LOW);
  EXPECT_EQ(FromProtoDuration(spec.scheduling().max_run_time()), absl::Hours(2));
  EXPECT_EQ(request->run().labels().at("note"), "x=y");
  EXPECT_EQ(request->run().labels().at("empty"), "");
}

TEST(BuildCreateRequest, OnlyARelativePathIsMadeAbsolute) {
  for (const auto& [given, sent] : std::vector<std::pair<std::string, std::string>>{
           {"train.jsonl", "/home/a/train.jsonl"},
           {"./x/../train.jsonl", "/home/a/train.jsonl"},
           {"./odd:name", "/home/a/odd:name"},
           {"x/odd:name", "/home/a/x/odd:name"},
           {"/data/train.jsonl", "/data/train.jsonl"},
           {"s3://bucket/train.jsonl", "s3://bucket/train.jsonl"},
           {"dbfs:/Volumes/x", "dbfs:/Volumes/x"}}) {
    CreateFlags flags = EveryFlag();
    flags.train_data = given;
    const auto request = BuildCreateRequest(flags, "/home/a", "generated");
    ASSERT_TRUE(request.ok()) << request.status();
    EXPECT_EQ(request->run().spec().train_data_path(), sent);
  }
}

TEST(AbsolutePath, OfWhatMayBeOfAHubTheFileSystemDecides) {
  const std::string folder = ::testing::TempDir();
  for (const char* hub : {"squad/train", "openai/gsm8k/test", "a/b/train@refs/convert/parquet"}) {
    EXPECT_EQ(AbsolutePath(hub, folder), hub);
  }
  std::filesystem::create_directories(folder + "/squad/train");
  EXPECT_EQ(AbsolutePath("squad/train", folder),
            std::filesystem::path(folder + "/squad/train").lexically_normal().string());
  std::filesystem::remove_all(folder + "/squad");
  for (const char* file : {"train", "data/train.jsonl", "./squad/train", "../squad/train"}) {
    EXPECT_EQ(AbsolutePath(file, "/home/a")[0], '/') << file;
  }
}

TEST(BuildCreateRequest, LeavesTheServersDefaultsToTheServer) {
  CreateFlags flags;
  flags.model = "m";
  flags.train_data = "/d";
  flags.request_id = "given";
  const auto request = BuildCreateRequest(flags, "/", "generated");
  ASSERT_TRUE(request.ok());
  v1::CreateRunRequest expected;
  expected.set_request_id("given");
  expected.mutable_run()->mutable_spec()->set_model("m");
  expected.mutable_run()->mutable_spec()->set_train_data_path("/d");
  EXPECT_EQ(request->DebugString(), expected.DebugString());
}

TEST(BuildCreateRequest, TakesTheNamesOfTheApiToo) {
  CreateFlags flags;
  for (const auto& [text, task] : {std::pair("CONTINUED_PRETRAIN", v1::RunSpec::CONTINUED_PRETRAIN),
                                   std::pair("continued-pretrain", v1::RunSpec::CONTINUED_PRETRAIN),
                                   std::pair("chat", v1::RunSpec::CHAT_COMPLETION),
                                   std::pair("chat_completion", v1::RunSpec::CHAT_COMPLETION)}) {
    flags.task = text;
    EXPECT_EQ(BuildCreateRequest(flags, "/", "").value().run().spec().task_type(), task) << text;
  }
}

TEST(BuildCreateRequest, SaysWhichFlagItCannotRead) {
  const auto error = [](auto change) {
    CreateFlags flags;
    change(flags);
    const absl::Status status = BuildCreateRequest(flags, "/", "").status();
    EXPECT_EQ(ExitCodeOf(status), kExitUsage);
    return std::string(status.message());
  };
  EXPECT_THAT(error([](CreateFlags& f) { f.task = "chatt"; }), HasSubstr("--task"));
  EXPECT_THAT(error([](CreateFlags& f) { f.task = "task-type-unspecified"; }), HasSubstr("--task"));
  EXPECT_THAT(error([](CreateFlags& f) { f.priority = "urgent"; }), HasSubstr("--priority"));
  EXPECT_THAT(error([](CreateFlags& f) { f.labels = {"a"}; }), HasSubstr("--label"));
  EXPECT_THAT(error([](CreateFlags& f) { f.labels = {"a=1", "a=2"}; }), HasSubstr("twice"));
  EXPECT_THAT(error([](CreateFlags& f) { f.memory = "8x"; }), HasSubstr("8x"));
  EXPECT_THAT(error([](CreateFlags& f) { f.max_run_time = "2"; }), HasSubstr("duration"));
}

}  // namespace
}  // namespace finetuned::cli
