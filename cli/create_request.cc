#include "cli/create_request.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/ascii.h"
#include "base/status.h"
#include "base/time.h"
#include "cli/flag_values.h"
#include "cli/times.h"
#include "cli/units.h"

namespace finetuned::cli {
namespace {

// `s3://bucket/x`, `dbfs:/x`: a colon before any slash.
bool HasScheme(const std::string& path) {
  const size_t colon = path.find(':');
  return colon != std::string::npos && colon > 0 && colon < path.find('/');
}

// `squad/train`, `openai/gsm8k/test@main`: a data set of a hub with its split, which has no dot. A
// folder may be called so too.
bool MayBeOfAHub(const std::string& path) {
  const std::string name = path.substr(0, path.find('@'));
  const auto slashes = std::count(name.begin(), name.end(), '/');
  const size_t split = name.rfind('/') + 1;
  if ((slashes != 1 && slashes != 2) || split == name.size() || name[0] == '.') return false;
  for (size_t i = 0; i < name.size(); ++i) {
    const bool marks = i < split ? std::strchr("._-/", name[i]) != nullptr : name[i] == '_';
    if (!marks && !absl::ascii_isalnum(static_cast<unsigned char>(name[i]))) return false;
  }
  return true;
}

absl::Status FillSpec(const CreateFlags& flags, const std::string& working_directory,
                      v1::RunSpec& spec) {
  if (flags.model) spec.set_model(*flags.model);
  if (flags.task) {
    FT_ASSIGN_OR_RETURN(const v1::RunSpec::TaskType task, ParseTask(*flags.task));
    spec.set_task_type(task);
  }
  if (flags.train_data) {
    spec.set_train_data_path(AbsolutePath(*flags.train_data, working_directory));
  }
  if (flags.eval_data) spec.set_eval_data_path(AbsolutePath(*flags.eval_data, working_directory));
  if (!flags.eval_prompts.empty()) spec.clear_eval_prompts();
  for (const std::string& prompt : flags.eval_prompts) spec.add_eval_prompts(prompt);
  if (flags.custom_weights) spec.set_custom_weights_path(*flags.custom_weights);
  if (flags.duration) spec.set_training_duration(*flags.duration);
  if (flags.learning_rate) spec.set_learning_rate(*flags.learning_rate);
  if (flags.context_length) spec.set_context_length(*flags.context_length);
  if (flags.register_to) spec.set_register_to(*flags.register_to);
  if (flags.experiment) spec.set_experiment_path(*flags.experiment);
  if (flags.validate_inputs) spec.set_validate_inputs(*flags.validate_inputs);
  if (flags.data_prep_cluster_id) spec.set_data_prep_cluster_id(*flags.data_prep_cluster_id);
  if (flags.save_interval) spec.set_save_interval(*flags.save_interval);
  if (flags.save_num_to_keep) spec.set_save_num_to_keep(*flags.save_num_to_keep);
  if (IsGiven(flags.recipe)) return FillRecipe(flags.recipe, spec.mutable_recipe());
  return absl::OkStatus();
}

absl::Status FillCompute(const CreateFlags& flags, v1::RunSpec& spec) {
  if (flags.gpus) spec.mutable_compute()->set_gpus(*flags.gpus);
  if (flags.gpu_type) spec.mutable_compute()->set_gpu_type(*flags.gpu_type);
  if (flags.cpus) spec.mutable_compute()->set_cpus(*flags.cpus);
  if (flags.nodes) spec.mutable_compute()->set_nodes(*flags.nodes);
  if (flags.memory) {
    FT_ASSIGN_OR_RETURN(const int64_t bytes, ParseBytes(*flags.memory));
    spec.mutable_compute()->set_memory_bytes(bytes);
  }
  return absl::OkStatus();
}

absl::Status FillScheduling(const CreateFlags& flags, v1::RunSpec& spec) {
  if (flags.priority) {
    FT_ASSIGN_OR_RETURN(const v1::Scheduling::Priority priority, ParsePriority(*flags.priority));
    spec.mutable_scheduling()->set_priority(priority);
  }
  if (flags.max_retries) spec.mutable_scheduling()->set_max_retries(*flags.max_retries);
  if (flags.max_queue_time == "none") {
    if (spec.has_scheduling()) spec.mutable_scheduling()->clear_max_queue_time();
  } else if (flags.max_queue_time) {
    FT_ASSIGN_OR_RETURN(const absl::Duration limit, ParseDuration(*flags.max_queue_time));
    *spec.mutable_scheduling()->mutable_max_queue_time() = ToProtoDuration(limit);
  }
  if (flags.max_run_time == "none") {
    if (spec.has_scheduling()) spec.mutable_scheduling()->clear_max_run_time();
  } else if (flags.max_run_time) {
    FT_ASSIGN_OR_RETURN(const absl::Duration limit, ParseDuration(*flags.max_run_time));
    *spec.mutable_scheduling()->mutable_max_run_time() = ToProtoDuration(limit);
  }
  return absl::OkStatus();
}

}  // namespace

std::string AbsolutePath(const std::string& path, const std::string& directory) {
  if (path.empty() || path[0] == '/' || HasScheme(path)) return path;
  const std::string absolute =
      (std::filesystem::path(directory) / path).lexically_normal().string();
  std::error_code error;
  if (MayBeOfAHub(path) && !std::filesystem::exists(absolute, error)) return path;
  return absolute;
}

absl::StatusOr<v1::CreateRunRequest> BuildCreateRequest(const CreateFlags& flags,
                                                        const std::string& working_directory,
                                                        const std::string& request_id,
                                                        v1::CreateRunRequest base) {
  v1::CreateRunRequest request = std::move(base);
  if (!flags.parent.empty()) request.set_parent(flags.parent);
  if (!flags.name.empty()) request.set_run_id(flags.name);
  if (!flags.request_id.empty()) request.set_request_id(flags.request_id);
  if (request.request_id().empty()) request.set_request_id(request_id);
  if (flags.validate_only) request.set_validate_only(true);
  v1::RunSpec& spec = *request.mutable_run()->mutable_spec();
  FT_RETURN_IF_ERROR(FillSpec(flags, working_directory, spec));
  FT_RETURN_IF_ERROR(FillCompute(flags, spec));
  FT_RETURN_IF_ERROR(FillScheduling(flags, spec));
  FT_ASSIGN_OR_RETURN(const auto labels, ParseLabels(flags.labels));
  for (const auto& [key, value] : labels) (*request.mutable_run()->mutable_labels())[key] = value;
  return request;
}

}  // namespace finetuned::cli
