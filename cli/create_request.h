#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "cli/recipe_flags.h"
#include "finetuned/v1/run_service.pb.h"

namespace finetuned::cli {

// The flags of `run create`, as they were given; what was not given is left to the server's
// defaults.
struct CreateFlags {
  std::string parent;
  std::string name;
  std::string request_id;
  bool validate_only = false;
  std::string model;
  std::string task;
  std::string train_data;
  std::string eval_data;
  std::vector<std::string> eval_prompts;
  std::string custom_weights;
  std::string duration;
  std::optional<double> learning_rate;
  std::optional<int32_t> context_length;
  std::string register_to;
  std::string experiment;
  std::optional<bool> validate_inputs;
  std::string data_prep_cluster_id;
  std::string save_interval;
  std::optional<int32_t> save_num_to_keep;
  RecipeFlags recipe;
  std::optional<int32_t> gpus;
  std::string gpu_type;
  std::optional<int32_t> cpus;
  std::string memory;
  std::optional<int32_t> nodes;
  std::string priority;
  std::optional<int32_t> max_retries;
  std::string max_run_time;
  std::vector<std::string> labels;
};

// The request. Pure. Reads what people write (`chat`, `8GiB`, `2h`, `k=v`) and makes relative paths
// of data absolute under `working_directory`; everything else is left to the server, which lists
// every violation at once. Usage error for what cannot be read. `request_id` is used where the
// flags have none.
absl::StatusOr<v1::CreateRunRequest> BuildCreateRequest(const CreateFlags& flags,
                                                        const std::string& working_directory,
                                                        const std::string& request_id);

}  // namespace finetuned::cli
