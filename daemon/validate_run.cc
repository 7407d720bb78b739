#include "daemon/validate_run.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/status.h"
#include "base/time.h"
#include "base/training_duration.h"
#include "base/uuid.h"
#include "daemon/permissions.h"
#include "daemon/resource_name.h"
#include "daemon/text.h"
#include "daemon/validate_recipe.h"

namespace finetuned {
namespace {

using v1::RunSpec;
using v1::Scheduling;

constexpr size_t kMaxPathBytes = 4096;
constexpr size_t kMaxFileName = 255;
constexpr size_t kMaxHubName = 96;
constexpr size_t kMaxHubSplit = 100;
constexpr size_t kMaxHubRevision = 200;
// Bytes of a name that an error shows.
constexpr size_t kMaxShownName = 64;
constexpr int kMaxLabels = 64;
constexpr size_t kMaxLabelKey = 63;
constexpr size_t kMaxLabelValue = 256;
constexpr int kMaxEvalPrompts = 100;
constexpr size_t kMaxEvalPrompt = 4096;
constexpr double kDefaultLearningRate = 5e-7;
constexpr double kMinLearningRate = 1e-12;
constexpr int kMinContextLength = 8;
constexpr int kMaxContextLength = 1 << 20;
constexpr int64_t kMaxMemoryBytes = int64_t{1} << 50;
constexpr int kMaxGpus = 1024;
constexpr int kMaxCpus = 4096;
constexpr int kMaxNodes = 1024;
constexpr int kMaxRetries = 100;
constexpr int kMaxCheckpointsKept = 1000;
constexpr absl::Duration kMinRunTime = absl::Minutes(1);
constexpr absl::Duration kMaxRunTime = absl::Hours(24 * 365);

bool IsLower(char c) { return c >= 'a' && c <= 'z'; }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsAlnum(char c) { return IsLower(c) || IsDigit(c) || (c >= 'A' && c <= 'Z'); }

bool IsModelName(const std::string& name) {
  const std::vector<std::string> parts = absl::StrSplit(name, '/');
  if (parts.size() != 2 || name.size() > 200) return false;
  for (const std::string& part : parts) {
    if (part.empty() || part[0] == '.') return false;
    for (const char c : part) {
      if (!IsAlnum(c) && c != '-' && c != '_' && c != '.') return false;
    }
  }
  return true;
}

bool IsLabelKey(const std::string& key) {
  if (key.empty() || key.size() > kMaxLabelKey || !IsLower(key[0])) return false;
  for (const char c : key) {
    if (!IsLower(c) && !IsDigit(c) && c != '-' && c != '_' && c != '.') return false;
  }
  return true;
}

// An absolute path that means what it says: nothing to decode, to expand or to climb. Empty when it
// is one.
std::string PathProblem(const std::string& path) {
  if (path.size() > kMaxPathBytes) return "is longer than 4096 bytes";
  if (HasControl(path)) return "has control characters";
  if (absl::StrContains(path, "://") || absl::StartsWith(path, "file:")) {
    return "is a URL; give an absolute path that the workers see";
  }
  if (absl::StrContains(path, "%") || absl::StrContains(path, "\\")) {
    return "has an escape; give the path as it is";
  }
  for (const char c : path) {
    if (static_cast<unsigned char>(c) >= 0x80) return "has characters outside ASCII";
    if (absl::StrContains("~$*?[]{}", std::string(1, c)))
      return "has a shell character; nothing is expanded";
  }
  if (absl::StrContains(path, "//")) return "has an empty part";
  const std::vector<std::string> parts = absl::StrSplit(path, '/');
  for (const std::string& part : parts) {
    if (part == "." || part == "..") return "has a part . or ..";
  }
  return "";
}

bool IsUnder(const std::string& path, const std::string& root) {
  return path == root || absl::StartsWith(path, absl::EndsWith(root, "/") ? root : root + "/");
}

void CheckDuration(const std::string& field, std::string* text, const char* default_text,
                   Checker* check) {
  if (text->empty()) {
    *text = default_text;
  } else if (!ParseTrainingDuration(*text).has_value()) {
    check->Add(field, absl::StrCat("is not ", kTrainingDurationForms), "BAD_DURATION");
  }
}

// Text that begins with a letter or digit and has only these and `more` after it.
bool IsHubWord(absl::string_view text, absl::string_view more, size_t max) {
  if (text.empty() || text.size() > max || !IsAlnum(text[0])) return false;
  for (const char c : text) {
    if (!IsAlnum(c) && !absl::StrContains(more, c)) return false;
  }
  return !absl::StrContains(text, "..");
}

// `{data set}/{split}` or `{entity}/{data set}/{split}` of a hub, with `@{revision}` behind it
// where one is meant. The same form as in trainer/hub_dataset.py.
bool IsHubData(const std::string& path) {
  const size_t at = path.find('@');
  if (at != std::string::npos && !IsHubWord(path.substr(at + 1), "_./-", kMaxHubRevision)) {
    return false;
  }
  const std::vector<std::string> parts = absl::StrSplit(path.substr(0, at), '/');
  if (parts.size() != 2 && parts.size() != 3) return false;
  for (size_t i = 0; i + 1 < parts.size(); ++i) {
    if (!IsHubWord(parts[i], "._-", kMaxHubName)) return false;
  }
  return IsHubWord(parts.back(), "_", kMaxHubSplit);
}

void CheckDataPath(const std::string& field, const std::string& path, bool required,
                   const config::v1::DaemonHub& hub, Checker* check) {
  if (path.empty()) {
    check->Require(!required, field, "is required: an absolute path under a data root", "BAD_URI");
    return;
  }
  if (hub.datasets() && path[0] != '/' && !absl::StrContains(path, "://")) {
    check->Require(IsHubData(path), field,
                   "is neither an absolute path nor in the format <dataset>/<split> or "
                   "<entity>/<dataset>/<split>",
                   "BAD_URI");
    return;
  }
  const std::string problem = path[0] != '/' && !absl::StrContains(path, "://")
                                  ? "is not an absolute path"
                                  : PathProblem(path);
  check->Require(problem.empty(), field, problem, "BAD_URI");
}

void CheckTraining(const config::v1::DaemonHub& hub, RunSpec* spec, Checker* check) {
  check->Require(IsModelName(spec->model()), "run.spec.model",
                 "is required: `{organisation}/{model}` from the catalogue", "BAD_MODEL");
  check->Require(RunSpec::TaskType_IsValid(spec->task_type()), "run.spec.task_type",
                 "is none of CHAT_COMPLETION, INSTRUCTION_FINETUNE, CONTINUED_PRETRAIN",
                 "BAD_TASK_TYPE");
  if (spec->task_type() == RunSpec::TASK_TYPE_UNSPECIFIED) {
    spec->set_task_type(RunSpec::CHAT_COMPLETION);
  }
  CheckDataPath("run.spec.train_data_path", spec->train_data_path(), true, hub, check);
  CheckDataPath("run.spec.eval_data_path", spec->eval_data_path(), false, hub, check);
  if (!spec->custom_weights_path().empty()) {
    const std::string problem = PathProblem(spec->custom_weights_path());
    check->Require(problem.empty(), "run.spec.custom_weights_path", problem, "BAD_URI");
  }
  CheckDuration("run.spec.training_duration", spec->mutable_training_duration(), "1ep", check);
  CheckDuration("run.spec.save_interval", spec->mutable_save_interval(), "1ep", check);
  const auto length = ParseTrainingDuration(spec->training_duration());
  const auto interval = ParseTrainingDuration(spec->save_interval());
  if (length.has_value() && interval.has_value() && length->unit == interval->unit &&
      interval->value > length->value) {
    check->Add("run.spec.save_interval", "is longer than the training", "SAVE_INTERVAL_BEYOND_END");
  }
  if (!spec->has_learning_rate()) spec->set_learning_rate(kDefaultLearningRate);
  check->Require(std::isfinite(spec->learning_rate()) &&
                     spec->learning_rate() >= kMinLearningRate && spec->learning_rate() <= 1,
                 "run.spec.learning_rate", "must be from 1e-12 to 1", "BAD_LEARNING_RATE");
  if (spec->save_num_to_keep() == 0) spec->set_save_num_to_keep(-1);
  check->Require(spec->save_num_to_keep() >= -1 && spec->save_num_to_keep() <= kMaxCheckpointsKept,
                 "run.spec.save_num_to_keep", "must be -1 for all, or from 1 to 1000");
  check->Require(spec->eval_prompts_size() <= kMaxEvalPrompts, "run.spec.eval_prompts",
                 "has more than 100 prompts");
  std::set<std::string> seen;
  for (int i = 0; i < spec->eval_prompts_size() && i < kMaxEvalPrompts; ++i) {
    const std::string& prompt = spec->eval_prompts(i);
    const std::string field = absl::StrCat("run.spec.eval_prompts[", i, "]");
    const size_t characters = CharacterCount(prompt);
    if (characters == 0 || characters > kMaxEvalPrompt) {
      check->Add(field, "must have 1 to 4096 characters", "BAD_VALUE");
    } else if (!seen.insert(prompt).second) {
      check->Add(field, "is there twice", "DUPLICATE");
    }
  }
}

// The last part becomes a folder's name on every worker.
void CheckExperimentPath(const std::string& path, Checker* check) {
  std::string problem = PathProblem(path);
  if (problem.empty() && (path[0] != '/' || path.back() == '/')) {
    problem = "must begin with / and not end with it";
  }
  if (problem.empty() && path.size() > kMaxExperimentPath) problem = "has more than 1024 bytes";
  if (problem.empty() && path.size() - path.rfind('/') - 1 > kMaxFileName) {
    problem = "has a last part with more than 255 bytes";
  }
  check->Require(problem.empty(), "run.spec.experiment_path", problem, "BAD_EXPERIMENT_PATH");
}

void CheckIdentityFields(RunSpec* spec, const Identity& caller, const std::string& run_name,
                         Checker* check) {
  if (!spec->register_to().empty()) {
    const bool good = IsRegisteredModel(spec->register_to(), /*two_parts=*/true);
    // A model that is not named is named like the run.
    if (good && std::count(spec->register_to().begin(), spec->register_to().end(), '.') == 1) {
      absl::StrAppend(spec->mutable_register_to(), ".", run_name);
    }
    check->Require(
        good && spec->register_to().size() <= kMaxModelName, "run.spec.register_to",
        "must be in the format catalog.schema or catalog.schema.model_name, at most 255 bytes");
  }
  if (spec->experiment_path().empty()) {
    spec->set_experiment_path(absl::StrCat("/Users/", caller.email, "/", run_name));
  } else {
    CheckExperimentPath(spec->experiment_path(), check);
  }
  if (!spec->has_validate_inputs()) spec->set_validate_inputs(true);
  check->Require(
      spec->data_prep_cluster_id().empty(), "run.spec.data_prep_cluster_id",
      "must be empty: tables are not read from a cluster here; export the data to JSONL");
}

void CheckCompute(const v1::Compute& defaults, v1::Compute* compute, Checker* check) {
  if (!compute->has_gpus()) compute->set_gpus(defaults.gpus());
  if (compute->cpus() == 0) compute->set_cpus(defaults.cpus());
  if (compute->memory_bytes() == 0) compute->set_memory_bytes(defaults.memory_bytes());
  if (compute->gpu_type().empty() && compute->gpus() > 0)
    compute->set_gpu_type(defaults.gpu_type());
  if (compute->nodes() == 0) compute->set_nodes(1);
  check->Require(compute->gpus() >= 0 && compute->gpus() <= kMaxGpus, "run.spec.compute.gpus",
                 "must be from 0 to 1024");
  check->Require(compute->cpus() >= 1 && compute->cpus() <= kMaxCpus, "run.spec.compute.cpus",
                 "must be from 1 to 4096");
  check->Require(compute->memory_bytes() >= 0 && compute->memory_bytes() <= kMaxMemoryBytes,
                 "run.spec.compute.memory_bytes", "must be from 0 to 1 PiB");
  check->Require(compute->nodes() >= 1 && compute->nodes() <= kMaxNodes, "run.spec.compute.nodes",
                 "must be from 1 to 1024");
  bool good_type = compute->gpu_type().size() <= 63;
  for (const char c : compute->gpu_type()) good_type = good_type && (IsAlnum(c) || c == '-');
  check->Require(good_type, "run.spec.compute.gpu_type", "must be letters, digits and -");
}

absl::Status PathDenied(const std::string& field, const std::string& where) {
  return MakeError(absl::StatusCode::kPermissionDenied, "PATH_NOT_ALLOWED",
                   absl::StrCat(field, ": the path is not under ", where), {{"field", field}});
}

absl::Status CheckRoots(const RunSpec& spec, const Identity& caller, const RunPolicy& policy) {
  const std::string own_artifacts =
      absl::StrCat(policy.artifact_root, "/workspaces/", caller.workspace);
  const auto allowed = [&](const std::string& path) {
    for (const std::string& root : policy.data_roots) {
      if (IsUnder(path, root)) return true;
    }
    return false;
  };
  const std::pair<const char*, const std::string*> data[] = {
      {"run.spec.train_data_path", &spec.train_data_path()},
      {"run.spec.eval_data_path", &spec.eval_data_path()}};
  for (const auto& [field, path] : data) {
    // What is not absolute is of the hub, and has been checked.
    if (!path->empty() && (*path)[0] == '/' && !allowed(*path)) {
      return PathDenied(field, policy.data_roots.empty()
                                   ? "any data root: the daemon's data_roots are empty"
                                   : "a data root: " + absl::StrJoin(policy.data_roots, ", "));
    }
  }
  const std::string& weights = spec.custom_weights_path();
  if (weights.empty()) return absl::OkStatus();
  const std::string absolute =
      weights[0] == '/' ? weights : absl::StrCat(policy.artifact_root, "/", weights);
  if (!IsUnder(absolute, own_artifacts) && !allowed(absolute)) {
    return PathDenied("run.spec.custom_weights_path", "your workspace's artifacts or a data root");
  }
  return absl::OkStatus();
}

// What the model allows; nothing to say of a model that is not there.
void CheckContextLength(const Catalogue::Model* model, RunSpec* spec, Checker* check) {
  if (spec->context_length() != 0 &&
      (spec->context_length() < kMinContextLength || spec->context_length() > kMaxContextLength)) {
    check->Add("run.spec.context_length", "must be from 8 to 1048576", "BAD_CONTEXT_LENGTH");
  } else if (model != nullptr && spec->context_length() == 0) {
    spec->set_context_length(model->context_length);
  } else if (model != nullptr && model->context_length > 0) {
    check->Require(spec->context_length() <= model->context_length, "run.spec.context_length",
                   absl::StrCat("is more than the model's ", model->context_length),
                   "BAD_CONTEXT_LENGTH");
  }
}

// Whether workers may fetch a model from the hub.
bool IsInHub(const config::v1::DaemonHub& hub, const std::string& name) {
  const std::string all = name.substr(0, name.find('/')) + "/*";
  for (const std::string& model : hub.models()) {
    if (model == name || model == all) return true;
  }
  return false;
}

absl::Status ModelNotAllowed(const std::string& name, const Catalogue& catalogue) {
  const std::string shown = name.substr(0, kMaxShownName);
  return MakeError(absl::StatusCode::kFailedPrecondition, "MODEL_NOT_ALLOWED",
                   absl::StrCat("run.spec.model: ", shown, " is not in the catalogue; there are ",
                                absl::StrJoin(catalogue.Names(), ", ")),
                   {{"model", shown}});
}

}  // namespace

void CheckScheduling(Scheduling* scheduling, Checker* check) {
  if (scheduling->priority() == Scheduling::PRIORITY_UNSPECIFIED) {
    scheduling->set_priority(Scheduling::AUTO);
  }
  check->Require(Scheduling::Priority_IsValid(scheduling->priority()),
                 "run.spec.scheduling.priority", "is none of HIGH, AUTO, LOW, LOWEST");
  check->Require(scheduling->max_retries() >= 0 && scheduling->max_retries() <= kMaxRetries,
                 "run.spec.scheduling.max_retries", "must be from 0 to 100");
  const auto check_limit = [&](const google::protobuf::Duration& given, const char* field) {
    const absl::Duration limit = FromProtoDuration(given);
    check->Require(
        IsValid(given) && limit >= kMinRunTime && limit <= kMaxRunTime && given.nanos() == 0, field,
        "must be whole seconds, from 1 minute to 365 days");
  };
  if (scheduling->has_max_run_time()) {
    check_limit(scheduling->max_run_time(), "run.spec.scheduling.max_run_time");
  }
  if (scheduling->has_max_queue_time()) {
    check_limit(scheduling->max_queue_time(), "run.spec.scheduling.max_queue_time");
  }
}

void CheckLabels(const google::protobuf::Map<std::string, std::string>& labels,
                 const std::string& field, Checker* check) {
  check->Require(labels.size() <= size_t{kMaxLabels}, field, "has more than 64 labels");
  for (const auto& [key, value] : labels) {
    check->Require(IsLabelKey(key), field, "has a key that is not `^[a-z][a-z0-9_.-]{0,62}$`",
                   "BAD_LABEL");
    check->Require(CharacterCount(value) <= kMaxLabelValue && !HasControl(value), field,
                   "has a value with more than 256 characters or with control characters",
                   "BAD_LABEL");
  }
}

absl::Status CheckPriorityRight(Scheduling::Priority priority, const Identity& caller) {
  if (priority != Scheduling::HIGH || RoleAllows(caller.role, "runs.prioritize")) {
    return absl::OkStatus();
  }
  return MakeError(absl::StatusCode::kPermissionDenied, "PERMISSION_MISSING",
                   "run.spec.scheduling.priority: HIGH needs the permission runs.prioritize",
                   {{"permission", "runs.prioritize"}});
}

absl::StatusOr<ValidRun> ValidateCreateRun(const v1::CreateRunRequest& request,
                                           const Identity& caller, const RunPolicy& policy,
                                           const std::string& generated_name) {
  Checker check;
  ValidRun valid;
  const absl::Status parent = CheckParent(request.parent(), caller);
  check.AddAll(parent);
  valid.request_id = request.request_id();
  check.Require(valid.request_id.empty() || IsUuid(valid.request_id), "request_id", "is not a UUID",
                "BAD_REQUEST_ID");
  valid.name = request.run_id().empty() ? generated_name : request.run_id();
  check.Require(
      IsRunName(valid.name), "run_id",
      "is not `^[a-z][a-z0-9-]{0,61}[a-z0-9]$`: lower-case letters, digits and -, 2 to 63",
      "BAD_NAME");
  // Wherever a name goes a uid may go, so a name must not look like one.
  check.Require(!IsUuid(request.run_id()), "run_id", "must not be a UUID", "BAD_NAME");
  check.Require(request.has_run(), "run", "is required", "REQUIRED");
  valid.spec = request.run().spec();
  CheckTraining(policy.hub, &valid.spec, &check);
  const Catalogue::Model* model = policy.catalogue->Find(valid.spec.model());
  CheckContextLength(model, &valid.spec, &check);
  CheckIdentityFields(&valid.spec, caller, valid.name, &check);
  CheckCompute(policy.default_compute, valid.spec.mutable_compute(), &check);
  CheckRecipe(valid.spec.mutable_recipe(), &check);
  CheckScheduling(valid.spec.mutable_scheduling(), &check);
  CheckLabels(request.run().labels(), "run.labels", &check);
  if (!check.violations().empty()) return InvalidArgument(check.violations());
  FT_RETURN_IF_ERROR(parent);
  valid.labels = {request.run().labels().begin(), request.run().labels().end()};
  FT_RETURN_IF_ERROR(CheckRoots(valid.spec, caller, policy));
  FT_RETURN_IF_ERROR(CheckPriorityRight(valid.spec.scheduling().priority(), caller));
  if (model == nullptr && !IsInHub(policy.hub, valid.spec.model())) {
    return ModelNotAllowed(valid.spec.model(), *policy.catalogue);
  }
  if (valid.spec.compute().nodes() > 1) {
    return MakeError(absl::StatusCode::kFailedPrecondition, "NO_SUCH_CAPACITY",
                     "run.spec.compute.nodes: no engine of this installation offers more than one "
                     "node; use 1",
                     {{"nodes", absl::StrCat(valid.spec.compute().nodes())}});
  }
  return valid;
}

}  // namespace finetuned
