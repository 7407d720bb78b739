#include "cli/run_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/time.h"
#include "cli/errors.h"
#include "cli/output.h"

namespace finetuned::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

v1::CreateRunRequest Read(const std::string& yaml) {
  const auto file = ParseRunFile(yaml, "run.yaml", "/home/a/runs");
  EXPECT_TRUE(file.ok()) << file.status();
  return file.ok() ? file->request : v1::CreateRunRequest();
}

std::string Refusal(const std::string& yaml) {
  const auto file = ParseRunFile(yaml, "run.yaml", "/home/a/runs");
  EXPECT_EQ(ExitCodeOf(file.status()), kExitUsage) << yaml;
  return std::string(file.status().message());
}

TEST(RunFile, ReadsWhatAPersonWrites) {
  const v1::CreateRunRequest request = Read(R"(
name: my-run
labels: {team: search, tries: 2}
model: org/m
task_type: instruction
train_data_path: ../data/train.jsonl
eval_data_path: /data/eval.jsonl
eval_prompts:
  - one
  - "two, with: a colon"
training_duration: 3ep
learning_rate: 5e-7
context_length: 512
validate_inputs: true
experiment: /Shared/tune
compute: {gpus: 1, gpu_type: h200, memory: 8GiB}
scheduling:
  priority: low
  max_run_time: 1h30m
recipe:
  optimizer: lion
  schedule: cosine
  packing: yes
  lora: {rank: 4, target_modules: [q_proj, v_proj]}
)");
  EXPECT_EQ(request.run_id(), "my-run");
  EXPECT_EQ(request.run().labels().at("team"), "search");
  EXPECT_EQ(request.run().labels().at("tries"), "2");
  const v1::RunSpec& spec = request.run().spec();
  EXPECT_EQ(spec.task_type(), v1::RunSpec::INSTRUCTION_FINETUNE);
  EXPECT_EQ(spec.train_data_path(), "/home/a/data/train.jsonl");
  EXPECT_EQ(spec.eval_data_path(), "/data/eval.jsonl");
  EXPECT_THAT(spec.eval_prompts(), ElementsAre("one", "two, with: a colon"));
  EXPECT_EQ(spec.learning_rate(), 5e-7);
  EXPECT_TRUE(spec.validate_inputs());
  EXPECT_EQ(spec.experiment_path(), "/Shared/tune");
  EXPECT_EQ(spec.compute().memory_bytes(), int64_t{8} << 30);
  EXPECT_EQ(spec.scheduling().priority(), v1::Scheduling::LOW);
  EXPECT_EQ(FromProtoDuration(spec.scheduling().max_run_time()), absl::Minutes(90));
  EXPECT_EQ(spec.recipe().optimizer(), v1::Recipe::DECOUPLED_LION);
  EXPECT_TRUE(spec.recipe().packing());
  EXPECT_THAT(spec.recipe().lora().target_modules(), ElementsAre("q_proj", "v_proj"));
}

// Sets every field that a caller may set, so that one without a reader is found.
void FillAll(google::protobuf::Message* message) {
  using google::protobuf::FieldDescriptor;
  const auto* reflection = message->GetReflection();
  for (int i = 0; i < message->GetDescriptor()->field_count(); ++i) {
    const FieldDescriptor* field = message->GetDescriptor()->field(i);
    const bool list = field->is_repeated();
    switch (field->cpp_type()) {
      case FieldDescriptor::CPPTYPE_STRING:
        list ? reflection->AddString(message, field, "/x")
             : reflection->SetString(message, field, "/x");
        break;
      case FieldDescriptor::CPPTYPE_INT32: reflection->SetInt32(message, field, 3); break;
      case FieldDescriptor::CPPTYPE_INT64:
        reflection->SetInt64(message, field, int64_t{1} << 40);
        break;
      case FieldDescriptor::CPPTYPE_DOUBLE: reflection->SetDouble(message, field, 0.25); break;
      case FieldDescriptor::CPPTYPE_BOOL: reflection->SetBool(message, field, true); break;
      case FieldDescriptor::CPPTYPE_ENUM: reflection->SetEnumValue(message, field, 2); break;
      case FieldDescriptor::CPPTYPE_MESSAGE:
        if (field->message_type()->full_name() == "google.protobuf.Duration") {
          *static_cast<google::protobuf::Duration*>(reflection->MutableMessage(message, field)) =
              ToProtoDuration(absl::Milliseconds(7200500));
        } else {
          FillAll(reflection->MutableMessage(message, field));
        }
        break;
      default: FAIL() << field->full_name();
    }
  }
}

TEST(RunFile, ReadsEveryFieldOfARunThatWasShown) {
  v1::Run run;
  FillAll(run.mutable_spec());
  (*run.mutable_labels())["team"] = "no";
  const v1::RunSpec expected = run.spec();
  run.set_name("workspaces/w/runs/old");
  run.set_uid("u");
  run.set_state(v1::Run::COMPLETED);
  run.set_experiment("workspaces/w/experiments/e");
  run.set_etag("e");
  run.mutable_progress()->set_step(4);
  for (const std::string& text : {ToYaml(run), ToJson(run, true)}) {
    const auto file = ParseRunFile(text, "-", "/");
    ASSERT_TRUE(file.ok()) << file.status() << "\n" << text;
    EXPECT_EQ(file->request.run().spec().DebugString(), expected.DebugString());
    EXPECT_EQ(file->request.run().labels().at("team"), "no");
    EXPECT_EQ(file->request.run_id(), "");
    ASSERT_EQ(file->notes.size(), 1u);
    EXPECT_THAT(file->notes[0], HasSubstr("name, uid, "));
    EXPECT_THAT(file->notes[0], HasSubstr("progress"));
  }
}

TEST(RunFile, ReadsTheJsonOfARequestWithItsCamelCase) {
  const v1::CreateRunRequest request = Read(R"({"runId": "a", "validateOnly": true, "run": {
      "spec": {"model": "m", "trainDataPath": "/d", "compute": {"gpuType": "h200"},
               "scheduling": {"maxRunTime": "60s"}}, "labels": {"aB": "c"}}})");
  EXPECT_EQ(request.run_id(), "a");
  EXPECT_TRUE(request.validate_only());
  EXPECT_EQ(request.run().spec().train_data_path(), "/d");
  EXPECT_EQ(request.run().spec().compute().gpu_type(), "h200");
  EXPECT_EQ(request.run().spec().scheduling().max_run_time().seconds(), 60);
  // Keys of labels are the owner's own.
  EXPECT_EQ(request.run().labels().at("aB"), "c");
}

TEST(RunFile, ReadsFilesOfTheProductThatThisOneReplaces) {
  const v1::CreateRunRequest request = Read(R"(
name: my-run
compute: {gpus: 8, gpu_type: a100_80gb}
scheduling: {priority: lowest, max_retries: 2, max_duration: 1.5}
metadata: {team: a}
disable_credentials_check: false
experiment_tracker:
  mlflow: {experiment_path: /Users/a/x, model_registry_path: main.default}
parameters:
  model: org/m
  train_data_path: dbfs:/Volumes/a/b/c/train.jsonl
  max_seq_len: 1024
  global_train_batch_size: 16
  seed: 5
)");
  const v1::RunSpec& spec = request.run().spec();
  EXPECT_EQ(request.run_id(), "my-run");
  EXPECT_EQ(spec.compute().gpus(), 8);
  EXPECT_EQ(spec.scheduling().priority(), v1::Scheduling::LOWEST);
  EXPECT_EQ(FromProtoDuration(spec.scheduling().max_run_time()), absl::Minutes(90));
  EXPECT_EQ(request.run().labels().at("team"), "a");
  EXPECT_TRUE(spec.has_validate_inputs());
  EXPECT_TRUE(spec.validate_inputs());
  EXPECT_EQ(spec.experiment_path(), "/Users/a/x");
  EXPECT_EQ(spec.register_to(), "main.default");
  EXPECT_EQ(spec.train_data_path(), "dbfs:/Volumes/a/b/c/train.jsonl");
  EXPECT_EQ(spec.context_length(), 1024);
  EXPECT_EQ(spec.recipe().batch_size(), 16);
  EXPECT_EQ(spec.recipe().seed(), 5);
}

TEST(RunFile, SaysWhatToDoAboutKeysThatHaveNoCounterpart) {
  for (const char* key :
       {"image: x", "command: x", "integrations: []", "env_variables: {A: b}", "save_folder: x",
        "data_prep_config: {cluster_id: x}", "compute: {cluster: r1z1}",
        "compute: {node_names: [a]}", "scheduling: {preemptible: true}",
        "experiment_tracker: {wandb: {}}", "parameters: {fsdp_config: {}}"}) {
    EXPECT_THAT(Refusal(key), HasSubstr("has no counterpart: ")) << key;
  }
  EXPECT_THAT(Refusal("compute: {cluster: r1z1}"),
              HasSubstr("`compute.cluster` at line 1 has no counterpart"));
  EXPECT_THAT(Refusal("runs: []"), HasSubstr("a file describes one run"));
}

TEST(RunFile, NamesEveryUnknownKeyAtOnce) {
  EXPECT_EQ(Refusal("model: m\ntrian_data_path: /d\ncompute:\n  gpu: 1\ngpus: 2\nzzzzzz: 3\n"),
            "run.yaml has 4 mistakes; nothing was sent.\n"
            "  unknown key `trian_data_path` at line 2: did you mean `train_data_path`?\n"
            "  unknown key `compute.gpu` at line 4: did you mean `compute.gpus`?\n"
            "  unknown key `gpus` at line 5: it belongs beneath `compute`\n"
            "  unknown key `zzzzzz` at line 6");
  EXPECT_EQ(Refusal("trainDataPat: /d"),
            "run.yaml: unknown key `train_data_pat` at line 1: did you mean `train_data_path`?");
  EXPECT_THAT(Refusal("compute: {zzzzzz: 1}"), HasSubstr("here are gpus, gpu_type"));
  EXPECT_THAT(Refusal("experiment_tracker: {zzz: 1}"), HasSubstr("unknown key"));
}

TEST(RunFile, NamesTheKeyAndTheLineOfAValueThatIsNone) {
  for (const auto& [yaml, sentence] : std::vector<std::pair<std::string, std::string>>{
           {"context_length: many", "`context_length` at line 1 is `many`; write a whole number"},
           {"context_length: 1.5", "write a whole number"},
           {"context_length: 3000000000", "write a whole number"},
           {"\nlearning_rate: fast", "`learning_rate` at line 2 is `fast`; write a number"},
           {"model: [a]", "`model` at line 1 is a list; write a single value"},
           {"model: {a: b}", "is a map; write a single value"},
           {"eval_prompts: one", "`eval_prompts` at line 1 is a single value; write a list"},
           {"eval_prompts: [[a]]", "has a list in its list"},
           {"compute: 8", "`compute` at line 1 is a single value; below it are gpus, gpu_type"},
           {"compute: {gpus: x}", "`compute.gpus` at line 1 is `x`"},
           {"compute: {memory: 8x}", "write an amount like 8GiB"},
           {"validate_inputs: maybe", "write true or false"},
           {"task_type: chatt", "one of chat_completion, instruction_finetune"},
           {"scheduling: {max_run_time: 2}", "write a duration like"},
           {"scheduling: {max_duration: 2h}", "must be a number of hours"},
           {"disable_credentials_check: [1]", "must be true or false"},
           {"labels: [a]", "write a map, `key: text`"},
           {"labels: {a: [b]}", "has an entry that is not `key: text`"},
           {"labels: {a: 1, a: 2}", "`labels.a` at line 1 was given at line 1 already"},
           {"model: a\nmodel: b", "`model` at line 2 was given at line 1 already"},
           {"model: a\nspec:\n  model: b", "`spec.model` at line 3 was given at line 1 already"},
           {"context_length: 1\nmax_seq_len: 2", "was given at line 1 already"},
           {"? [a]\n: b", "a key that is not a single word"},
           {"spec: x", "`spec` at line 1 holds the keys of a run"},
           {"run: {run: {run: {run: {}}}}", "beneath no other such"},
           {"- a", "is not a map of keys"},
           {"", "is not a map of keys"},
           {"a: [", "is not YAML"},
           {"model: a\n---\nmodel: b", "has 2 documents"},
           {"model: \xff", "is not text in UTF-8"},
           {std::string(kMaxRunFileBytes + 1, ' '), "is larger than 1048576 bytes"}}) {
    EXPECT_THAT(Refusal(yaml), HasSubstr(sentence));
  }
}

TEST(RunFile, NothingIsExpandedAndNullIsNotGiven) {
  const v1::CreateRunRequest request =
      Read("model: $MODEL\ntrain_data_path: ${HOME}/x\neval_data_path:\ncompute: ~\n");
  EXPECT_EQ(request.run().spec().model(), "$MODEL");
  EXPECT_EQ(request.run().spec().train_data_path(), "/home/a/runs/${HOME}/x");
  EXPECT_EQ(request.run().spec().eval_data_path(), "");
  EXPECT_FALSE(request.run().spec().has_compute());
}

TEST(RunFile, AnchorsThatFeedOnThemselvesEnd) {
  EXPECT_THAT(Refusal("run: &a {run: *a}"), HasSubstr("beneath no other such"));
  EXPECT_THAT(Refusal("compute: &a {compute: *a}"), HasSubstr("unknown key"));
}

}  // namespace
}  // namespace finetuned::cli
