#include "cli/create_request.h"

#include <algorithm>
#include <filesystem>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "base/time.h"
#include "cli/errors.h"
#include "cli/times.h"
#include "cli/units.h"

namespace finetuned::cli {
namespace {

// `continued-pretrain` and `Continued_Pretrain` as CONTINUED_PRETRAIN.
std::string EnumName(const std::string& text) {
  std::string name = absl::AsciiStrToUpper(text);
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

absl::StatusOr<v1::RunSpec::TaskType> ParseTask(const std::string& text) {
  const std::string name = EnumName(text);
  if (name == "CHAT") return v1::RunSpec::CHAT_COMPLETION;
  if (name == "INSTRUCTION") return v1::RunSpec::INSTRUCTION_FINETUNE;
  v1::RunSpec::TaskType task = v1::RunSpec::TASK_TYPE_UNSPECIFIED;
  if (v1::RunSpec::TaskType_Parse(name, &task) && task != v1::RunSpec::TASK_TYPE_UNSPECIFIED) {
    return task;
  }
  return UsageError(absl::StrCat(
      "--task is `", text,
      "`; give chat (CHAT_COMPLETION), instruction (INSTRUCTION_FINETUNE) or continued-pretrain "
      "(CONTINUED_PRETRAIN)."));
}

absl::StatusOr<v1::Scheduling::Priority> ParsePriority(const std::string& text) {
  v1::Scheduling::Priority priority = v1::Scheduling::PRIORITY_UNSPECIFIED;
  if (v1::Scheduling::Priority_Parse(EnumName(text), &priority) &&
      priority != v1::Scheduling::PRIORITY_UNSPECIFIED) {
    return priority;
  }
  return UsageError(absl::StrCat("--priority is `", text, "`; give high, auto, low or lowest."));
}

// `s3://bucket/x`, `dbfs:/x`: a colon before any slash.
bool HasScheme(const std::string& path) {
  const size_t colon = path.find(':');
  return colon != std::string::npos && colon > 0 && colon < path.find('/');
}

// The server sees the same file system, but not this directory. What names another place is the
// server's to judge.
std::string AbsolutePath(const std::string& path, const std::string& working_directory) {
  if (path.empty() || path[0] == '/' || HasScheme(path)) return path;
  return (std::filesystem::path(working_directory) / path).lexically_normal().string();
}

absl::Status FillSpec(const CreateFlags& flags, const std::string& working_directory,
                      v1::RunSpec& spec) {
  spec.set_model(flags.model);
  if (!flags.task.empty()) {
    FT_ASSIGN_OR_RETURN(const v1::RunSpec::TaskType task, ParseTask(flags.task));
    spec.set_task_type(task);
  }
  spec.set_train_data_path(AbsolutePath(flags.train_data, working_directory));
  spec.set_eval_data_path(AbsolutePath(flags.eval_data, working_directory));
  for (const std::string& prompt : flags.eval_prompts) spec.add_eval_prompts(prompt);
  spec.set_custom_weights_path(flags.custom_weights);
  spec.set_training_duration(flags.duration);
  if (flags.learning_rate) spec.set_learning_rate(*flags.learning_rate);
  if (flags.context_length) spec.set_context_length(*flags.context_length);
  spec.set_register_to(flags.register_to);
  spec.set_experiment_path(flags.experiment);
  if (flags.validate_inputs) spec.set_validate_inputs(*flags.validate_inputs);
  spec.set_data_prep_cluster_id(flags.data_prep_cluster_id);
  spec.set_save_interval(flags.save_interval);
  if (flags.save_num_to_keep) spec.set_save_num_to_keep(*flags.save_num_to_keep);
  return absl::OkStatus();
}

absl::Status FillCompute(const CreateFlags& flags, v1::RunSpec& spec) {
  if (flags.gpus) spec.mutable_compute()->set_gpus(*flags.gpus);
  if (!flags.gpu_type.empty()) spec.mutable_compute()->set_gpu_type(flags.gpu_type);
  if (flags.cpus) spec.mutable_compute()->set_cpus(*flags.cpus);
  if (flags.nodes) spec.mutable_compute()->set_nodes(*flags.nodes);
  if (!flags.memory.empty()) {
    FT_ASSIGN_OR_RETURN(const int64_t bytes, ParseBytes(flags.memory));
    spec.mutable_compute()->set_memory_bytes(bytes);
  }
  return absl::OkStatus();
}

absl::Status FillScheduling(const CreateFlags& flags, v1::RunSpec& spec) {
  if (!flags.priority.empty()) {
    FT_ASSIGN_OR_RETURN(const v1::Scheduling::Priority priority, ParsePriority(flags.priority));
    spec.mutable_scheduling()->set_priority(priority);
  }
  if (flags.max_retries) spec.mutable_scheduling()->set_max_retries(*flags.max_retries);
  if (!flags.max_run_time.empty()) {
    FT_ASSIGN_OR_RETURN(const absl::Duration limit, ParseDuration(flags.max_run_time));
    *spec.mutable_scheduling()->mutable_max_run_time() = ToProtoDuration(limit);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<v1::CreateRunRequest> BuildCreateRequest(const CreateFlags& flags,
                                                        const std::string& working_directory,
                                                        const std::string& request_id) {
  v1::CreateRunRequest request;
  request.set_parent(flags.parent);
  request.set_run_id(flags.name);
  request.set_request_id(flags.request_id.empty() ? request_id : flags.request_id);
  request.set_validate_only(flags.validate_only);
  v1::RunSpec& spec = *request.mutable_run()->mutable_spec();
  FT_RETURN_IF_ERROR(FillSpec(flags, working_directory, spec));
  FT_RETURN_IF_ERROR(FillCompute(flags, spec));
  FT_RETURN_IF_ERROR(FillScheduling(flags, spec));
  for (const std::string& label : flags.labels) {
    const size_t equals = label.find('=');
    if (equals == std::string::npos || equals == 0) {
      return UsageError(absl::StrCat("--label is `", label, "`; write it as key=value."));
    }
    auto& labels = *request.mutable_run()->mutable_labels();
    const std::string key = label.substr(0, equals);
    if (labels.contains(key)) {
      return UsageError(absl::StrCat("--label gives `", key, "` twice."));
    }
    labels[key] = label.substr(equals + 1);
  }
  return request;
}

absl::StatusOr<v1::Run::State> ParseState(const std::string& text) {
  v1::Run::State state = v1::Run::STATE_UNSPECIFIED;
  if (v1::Run::State_Parse(EnumName(text), &state) && state != v1::Run::STATE_UNSPECIFIED) {
    return state;
  }
  return UsageError(absl::StrCat(
      "--state is `", text,
      "`; give pending, queued, starting, running, terminating, paused, completed, failed or "
      "stopped."));
}

}  // namespace finetuned::cli
