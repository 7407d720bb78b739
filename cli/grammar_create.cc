#include "cli/grammar_create.h"

#include <optional>

#include "absl/strings/str_cat.h"
#include "cli/grammar_parts.h"

namespace finetuned::cli {
namespace {

// `--name` and `--no-name`; unset where neither is given.
CLI::Option* AddSwitch(CLI::App* command, const std::string& name, std::optional<bool>& value,
                       const std::string& description) {
  return command->add_flag_function(
      absl::StrCat("--", name, ",!--no-", name), [&value](int64_t count) { value = count > 0; },
      description);
}

void AddRecipeFlags(CLI::App* command, RecipeFlags& f) {
  const char* group = "Recipe";
  command->add_option("--batch-size", f.batch_size, "Samples of one update (8)")->group(group);
  command
      ->add_option("--micro-batch-size", f.micro_batch_size,
                   "Samples at a time, the rest by accumulation; smaller needs less memory")
      ->group(group);
  command->add_option("--schedule", f.schedule, "linear (default), cosine or constant")
      ->group(group);
  command->add_option("--warm-up", f.warm_up, "Share of the training with a rising rate (0.02)")
      ->group(group);
  command->add_option("--optimizer", f.optimizer, "lion (default) or adamw")->group(group);
  command->add_option("--weight-decay", f.weight_decay, "0 (default) to 1")->group(group);
  command
      ->add_option("--max-gradient-norm", f.max_gradient_norm,
                   "Gradients are scaled down to it (1); 0 leaves them")
      ->group(group);
  command->add_option("--precision", f.precision, "auto (default), float32 or bfloat16")
      ->group(group);
  AddSwitch(command, "packing", f.packing, "Short samples share a row, or not")->group(group);
  command->add_option("--seed", f.seed, "Order of the data and all else that is random (17)")
      ->group(group);
  AddSwitch(command, "lora", f.lora, "Train low-rank adapters, not the weights; or not")
      ->group(group);
  command->add_option("--lora-rank", f.lora_rank, "Rank of the adapters (16)")->group(group);
  command->add_option("--lora-alpha", f.lora_alpha, "Their weight (twice the rank)")->group(group);
  command->add_option("--lora-dropout", f.lora_dropout, "0 (default) to 0.99")->group(group);
  command
      ->add_option("--lora-target", f.lora_targets,
                   "Matrix with adapters, e.g. q_proj; repeat, or a,b; all when left out")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->group(group);
}

// What the run is.
void AddSpecFlags(CLI::App* command, CreateFlags& f) {
  command->add_option("--model", f.model, "Base model, organisation/model");
  command->add_option("--train-data", f.train_data,
                      "Training data: a .jsonl, .csv or .parquet file, or a folder of .txt files");
  command->add_option("--eval-data", f.eval_data, "Evaluation data of the same form");
  command->add_option("--task", f.task,
                      "chat (default), instruction or continued-pretrain, or the API's name");
  command->add_option("--register-to", f.register_to, "catalog.schema or catalog.schema.model");
  command->add_option("--experiment", f.experiment, "Experiment the run belongs to");
  // One value each time the flag is given: a prompt may begin with anything.
  command
      ->add_option("--eval-prompt", f.eval_prompts, "Prompt answered at every checkpoint; repeat")
      ->allow_extra_args(false);
  command->add_option("--custom-weights", f.custom_weights, "Checkpoint to start from");
  command->add_option("--duration", f.duration, "How long to train: 1ep, 30ba or 10000tok");
  command->add_option("--learning-rate", f.learning_rate, "Peak learning rate");
  command->add_option("--context-length", f.context_length, "Tokens of an example that are used");
  command->add_option("--save-interval", f.save_interval, "How often to save: 1ep, 30ba, 10000tok");
  command->add_option("--save-num-to-keep", f.save_num_to_keep, "Checkpoints kept; -1 for all");
  command->add_option("--validate-inputs", f.validate_inputs, "true (default) or false");
  command->add_option("--data-prep-cluster-id", f.data_prep_cluster_id,
                      "Known to code written for the hosted product; must be empty");
  AddRecipeFlags(command, f.recipe);
  command->add_option("--gpus", f.gpus, "GPUs")->group("Needs");
  command->add_option("--gpu-type", f.gpu_type, "Type of the GPUs, e.g. h200")->group("Needs");
  command->add_option("--cpus", f.cpus, "CPU cores")->group("Needs");
  command->add_option("--memory", f.memory, "Memory, e.g. 8GiB")->group("Needs");
  command->add_option("--nodes", f.nodes, "Nodes")->group("Needs");
  command->add_option("--priority", f.priority, "high, auto, low or lowest")->group("Scheduling");
  command->add_option("--max-retries", f.max_retries, "Retries of a failed trainer")
      ->group("Scheduling");
  command
      ->add_option("--max-queue-time", f.max_queue_time,
                   "Fail the run unless it has started by then, e.g. 2h, or none")
      ->group("Scheduling");
  command->add_option("--max-run-time", f.max_run_time, "Wall-clock limit, e.g. 2h, or none")
      ->group("Scheduling");
}

// What it is called, and what is done with the answer.
void AddRequestFlags(CLI::App* command, CreateRunFlags& flags) {
  CreateFlags& f = flags.create;
  command->add_option("--label", f.labels, "key=value; repeat")->allow_extra_args(false);
  command->add_option("--name", f.name, "Name of the run; generated when left out");
  command->add_option("--parent", f.parent, "workspaces/NAME; your own when left out");
  command->add_option("--request-id", f.request_id,
                      "UUID that makes repeating safe; generated when left out");
  command->add_flag("--validate-only", f.validate_only, "Check everything and store nothing");
  command->add_flag("--watch,-w", flags.watch, "Then watch the run");
  AddWatchFlags(command, flags.watch_flags);
}

}  // namespace

void AddWatchFlags(CLI::App* command, WatchFlags& flags) {
  command->add_flag("--exit-status", flags.exit_status,
                    "Exit with 10 when the run FAILED and 11 when it was STOPPED");
  command->add_option("--progress", flags.progress, "auto, bar, plain or none");
}

void AddCreate(Grammar& grammar, CLI::App& parent, const std::string& name) {
  auto [command, flags] =
      AddCommand<CreateRunFlags>(parent, name, "Create a run, from flags or from a file");
  command->add_option("-f,--file", flags->file,
                      "YAML file with what the run is, - for standard input; flags win over it");
  AddSpecFlags(command, flags->create);
  AddRequestFlags(command, *flags);
  Bind(grammar, command, flags, &CreateRun);
}

void AddClone(Grammar& grammar, CLI::App& parent, const std::string& name) {
  auto [command, flags] = AddCommand<CreateRunFlags>(
      parent, name, "Create a run like another one; flags win over what that one has");
  command->add_option("NAME", flags->source, "The run: its name, resource name or uid")->required();
  AddSpecFlags(command, flags->create);
  AddRequestFlags(command, *flags);
  Bind(grammar, command, flags, &CloneRun);
}

}  // namespace finetuned::cli
