#include "cli/foreign_keys.h"

namespace finetuned::cli {
namespace {

using Meaning = ForeignKey::Meaning;

constexpr char kNoImage[] =
    "has no counterpart: workers run the trainer that they are configured with. Leave it out";
constexpr char kNoCommand[] =
    "has no counterpart: a run is a model, data and a recipe, not a command. Leave it out, and "
    "give "
    "model, train_data_path and training_duration";
constexpr char kNoEnvironment[] =
    "has no counterpart: the worker's configuration sets the trainer's environment. Leave it out";
constexpr char kNoCluster[] =
    "has no counterpart: a server is one installation. Leave it out, and choose the server with "
    "--context";
constexpr char kNoPreemption[] =
    "has no counterpart: a run makes way only when its worker drains, and is queued again by "
    "itself. Leave it out";
constexpr char kAlwaysRetried[] =
    "has no counterpart: the loss of a worker is always retried. Leave it out";
constexpr char kNoTracker[] =
    "has no counterpart: losses and metrics are in the run's events. Leave it out, and see "
    "`finetune run events`";
constexpr char kNoTables[] =
    "has no counterpart: tables are not read from a cluster. Leave it out, and give a .jsonl, .csv "
    "or .parquet file as train_data_path";
constexpr char kNoFolder[] =
    "has no counterpart: checkpoints go under the artifact root. Leave it out, and fetch them with "
    "`finetune artifacts download`";

constexpr ForeignKey kKeys[] = {
    {"image", Meaning::kRefused, kNoImage},
    {"command", Meaning::kRefused, kNoCommand},
    {"integrations", Meaning::kRefused,
     "has no counterpart: code and packages are the worker's. Leave it out"},
    {"env_variables", Meaning::kRefused, kNoEnvironment},
    {"env", Meaning::kRefused, kNoEnvironment},
    {"cluster", Meaning::kRefused, kNoCluster},
    {"gpu_num", Meaning::kField, "compute.gpus"},
    {"compute.memory", Meaning::kField, "compute.memory_bytes"},
    {"compute.cluster", Meaning::kRefused, kNoCluster},
    {"compute.instance", Meaning::kRefused,
     "has no counterpart: say what the run needs with gpus, gpu_type, cpus and memory"},
    {"compute.node_names", Meaning::kRefused,
     "has no counterpart: the server chooses the worker. Leave it out, and say what the run needs "
     "with gpus, gpu_type, cpus and memory"},
    {"scheduling.max_duration", Meaning::kHours, "scheduling.max_run_time"},
    {"scheduling.preemptible", Meaning::kRefused, kNoPreemption},
    {"preemptible", Meaning::kRefused, kNoPreemption},
    {"scheduling.retry_on_system_failure", Meaning::kRefused, kAlwaysRetried},
    {"retry_on_system_failure", Meaning::kRefused, kAlwaysRetried},
    {"metadata", Meaning::kField, "labels"},
    {"save_folder", Meaning::kRefused, kNoFolder},
    {"data_prep_config", Meaning::kRefused, kNoTables},
    {"disable_credentials_check", Meaning::kOpposite, "validate_inputs"},
    {"experiment_tracker", Meaning::kGroup, ""},
    {"experiment_tracker.mlflow", Meaning::kGroup, ""},
    {"experiment_tracker.mlflow.experiment_path", Meaning::kField, "experiment_path"},
    {"experiment_tracker.mlflow.experiment_name", Meaning::kField, "experiment_path"},
    {"experiment_tracker.mlflow.model_registry_path", Meaning::kField, "register_to"},
    {"experiment_tracker.mlflow.tracking_uri", Meaning::kRefused, kNoTracker},
    {"experiment_tracker.wandb", Meaning::kRefused, kNoTracker},
    {"loggers", Meaning::kRefused, kNoTracker},
    {"callbacks", Meaning::kRefused,
     "has no counterpart: the trainer evaluates, saves and reports by itself. Leave it out"},
    {"fsdp_config", Meaning::kRefused,
     "has no counterpart: the trainer decides how a model lies on its GPUs. Leave it out"},
    // Of the trainer that stood behind `parameters`.
    {"max_duration", Meaning::kField, "training_duration"},
    {"max_seq_len", Meaning::kField, "context_length"},
    {"global_train_batch_size", Meaning::kField, "recipe.batch_size"},
    {"device_train_microbatch_size", Meaning::kField, "recipe.micro_batch_size"},
    {"seed", Meaning::kField, "recipe.seed"},
    {"optimizer", Meaning::kRefused,
     "is not read here: write `recipe.optimizer` (lion or adamw) and `learning_rate`"},
    {"scheduler", Meaning::kRefused,
     "is not read here: write `recipe.schedule` (linear, cosine or constant) and "
     "`recipe.warm_up_fraction`"},
    // A listing.
    {"runs", Meaning::kRefused,
     "is a listing: a file describes one run, such as `finetune run get NAME -o yaml` prints"},
};

}  // namespace

const ForeignKey* FindForeignKey(const std::string& path) {
  for (const ForeignKey& key : kKeys) {
    if (path == key.key) return &key;
  }
  return nullptr;
}

}  // namespace finetuned::cli
