#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "cli/recipe_flags.h"
#include "finetuned/v1/run_service.pb.h"

namespace finetuned::cli {

// The flags of `run create`, as they were given; what was not given is left to the file or the run
// that is beneath them, or else to the server's defaults. An empty text is such a default.
struct CreateFlags {
  std::string parent;
  std::string name;
  std::string request_id;
  bool validate_only = false;
  std::optional<std::string> model;
  std::optional<std::string> task;
  std::optional<std::string> train_data;
  std::optional<std::string> eval_data;
  std::vector<std::string> eval_prompts;
  std::optional<std::string> custom_weights;
  std::optional<std::string> duration;
  std::optional<double> learning_rate;
  std::optional<int32_t> context_length;
  std::optional<std::string> register_to;
  std::optional<std::string> experiment;
  std::optional<bool> validate_inputs;
  std::optional<std::string> data_prep_cluster_id;
  std::optional<std::string> save_interval;
  std::optional<int32_t> save_num_to_keep;
  RecipeFlags recipe;
  std::optional<int32_t> gpus;
  std::optional<std::string> gpu_type;
  std::optional<int32_t> cpus;
  std::optional<std::string> memory;
  std::optional<int32_t> nodes;
  std::optional<std::string> priority;
  std::optional<int32_t> max_retries;
  std::optional<std::string> max_run_time;
  std::optional<std::string> max_queue_time;
  std::vector<std::string> labels;
};

// The request: `base` with what the flags say instead; labels are added to those it has. Pure.
// Reads what people write (`chat`, `8GiB`, `2h`, `k=v`) and makes relative paths of data absolute
// under `working_directory`; everything else is left to the server, which lists every violation at
// once. Usage error for what cannot be read. `request_id` is used where neither has one.
absl::StatusOr<v1::CreateRunRequest> BuildCreateRequest(const CreateFlags& flags,
                                                        const std::string& working_directory,
                                                        const std::string& request_id,
                                                        v1::CreateRunRequest base = {});

// A path of data as the server takes it. The server sees the same file system, but not this
// directory; what is absolute, or names another place (`s3://bucket/x`, or `squad/train` of a hub
// where no such file is here), is left to it.
std::string AbsolutePath(const std::string& path, const std::string& directory);

}  // namespace finetuned::cli
