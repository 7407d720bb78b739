#include "worker/trainer_env.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>

#include "absl/strings/str_join.h"
#include "artifacts/attempt_files.h"
#include "base/config.h"
#include "base/file.h"
#include "base/status.h"
#include "base/time.h"
#include "google/protobuf/util/json_util.h"
#include "worker/publisher.h"

namespace finetuned {
namespace {

std::string AttemptFolder(const v1::Lease& lease) {
  return lease.artifact_path() + "/attempts/" + std::to_string(lease.attempt().epoch());
}

// A port that nobody listens on now; 0 when there is none. The trainer may still find it taken, and
// says so then.
int FreePort() {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return 0;
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  int port = 0;
  if (bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 &&
      getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) == 0) {
    port = ntohs(address.sin_port);
  }
  close(fd);
  return port;
}

// Lets a Composer trainer report without a change, where trainer_dir has what stands in for the
// package that it reports by (trainer/adapters/mcli).
void AddComposerReporting(const std::string& trainer_dir,
                          std::map<std::string, std::string>& environment) {
  const std::string adapters = trainer_dir + "/trainer/adapters";
  if (!FileExists(adapters + "/mcli/__init__.py")) return;
  environment["PYTHONPATH"] += ":" + adapters;
  environment["MOSAICML_PLATFORM"] = "true";
  // Composer looks whether it is set; nothing reads the file.
  environment["MOSAICML_ACCESS_TOKEN_FILE"] = "/dev/null";
}

}  // namespace

std::map<std::string, std::string> TrainerEnvironment(
    const config::v1::WorkerConfig& config, const ArtifactStore& store, const v1::Lease& lease,
    const AttemptDir& dir, const AttemptNotes& notes,
    const std::map<std::string, std::string>& agent_environment, int master_port) {
  std::map<std::string, std::string> env;
  std::vector<std::string> allowed = {"PATH", "HOME", "LANG", "TZ"};
  allowed.insert(allowed.end(), config.pass_environment().begin(), config.pass_environment().end());
  for (const std::string& name : allowed) {
    const auto found = agent_environment.find(name);
    if (found != agent_environment.end()) env[name] = found->second;
  }
  const std::string epoch = std::to_string(lease.attempt().epoch());
  const std::string run_name = lease.run().substr(lease.run().rfind('/') + 1);
  const v1::Compute& compute = lease.spec().compute();
  const std::string threads = std::to_string(std::max(1, compute.cpus()));
  const std::string port = std::to_string(master_port);

  env["FINETUNED_CONTRACT"] = std::to_string(kTrainerContract);
  env["FINETUNED_RUN_ID"] = std::to_string(lease.attempt().run_id());
  env["FINETUNED_RUN_NAME"] = run_name;
  env["FINETUNED_EXPERIMENT_ID"] = lease.spec().experiment_path();
  env["FINETUNED_ATTEMPT"] = epoch;
  env["FINETUNED_SPEC"] = dir.File("spec.json");
  env["FINETUNED_EVENTS"] = dir.File("events.jsonl");
  env["FINETUNED_CONTROL"] = dir.File("control.json");
  env["FINETUNED_ERROR_FILE"] = dir.File("error.json");
  env["FINETUNED_SCRATCH_DIR"] = dir.File("scratch");
  env["FINETUNED_CHECKPOINT_DIR"] = store.Absolute(Publisher::StagingPath(lease));
  env["FINETUNED_OUTPUT_DIR"] = store.Absolute(AttemptFolder(lease) + "/output");
  env["FINETUNED_RESUME_FROM"] =
      lease.resume_from().empty() ? "" : store.Absolute(lease.resume_from());
  env["FINETUNED_GRACE_SECONDS"] = std::to_string(absl::ToInt64Seconds(notes.grace));
  env["FINETUNED_STALL_SECONDS"] = std::to_string(absl::ToInt64Seconds(StallTimeOf(config)));
  env["FINETUNED_MODEL_ROOTS"] = absl::StrJoin(config.model_roots(), ":");
  env["FINETUNED_THREADS"] = threads;

  if (config.hub().enabled()) {
    env["FINETUNED_HUB"] = "1";
    if (!config.hub().endpoint().empty()) env["HF_ENDPOINT"] = config.hub().endpoint();
    if (!config.hub().token_file().empty()) env["HF_TOKEN_PATH"] = config.hub().token_file();
    env["HF_HUB_CACHE"] =
        config.hub().cache_dir().empty() ? config.work_dir() + "/hub" : config.hub().cache_dir();
  }

  env["PYTHONPATH"] = config.trainer_dir();
  env["PYTHONUNBUFFERED"] = "1";
  env["OMP_NUM_THREADS"] = threads;
  env["TORCHELASTIC_ERROR_FILE"] = dir.File("error.json");
  env["RUN_NAME"] = run_name;
  // The order in which nvidia-smi counts, and so the agent.
  env["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID";
  env["CUDA_VISIBLE_DEVICES"] = absl::StrJoin(notes.gpus, ",");
  env["MASTER_ADDR"] = env["PET_MASTER_ADDR"] = "127.0.0.1";
  env["MASTER_PORT"] = env["PET_MASTER_PORT"] = port;
  env["NNODES"] = env["PET_NNODES"] = "1";
  env["NODE_RANK"] = env["PET_NODE_RANK"] = "0";
  env["PET_NPROC_PER_NODE"] = std::to_string(std::max<size_t>(1, notes.gpus.size()));
  return env;
}

absl::Duration StallTimeOf(const config::v1::WorkerConfig& config) {
  return config.has_trainer_stall_duration() ? FromProtoDuration(config.trainer_stall_duration())
                                             : kDefaultStallTime;
}

absl::StatusOr<std::string> TrainerSpecJson(const ArtifactStore& store, const v1::RunSpec& spec) {
  v1::RunSpec resolved = spec;
  const std::string& weights = spec.custom_weights_path();
  if (!weights.empty() && weights[0] != '/')
    resolved.set_custom_weights_path(store.Absolute(weights));
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  options.add_whitespace = true;
  std::string text;
  const auto status = google::protobuf::util::MessageToJsonString(resolved, &text, options);
  if (!status.ok()) return absl::InternalError("the spec cannot be written as JSON");
  return text;
}

absl::StatusOr<TrainerSpec> PrepareTrainer(const config::v1::WorkerConfig& config,
                                           const ArtifactStore& store, const v1::Lease& lease,
                                           const AttemptDir& dir, const AttemptNotes& notes,
                                           const std::string& deadline_file) {
  const std::string folder = AttemptFolder(lease);
  FT_RETURN_IF_ERROR(store.MakeFolder(Publisher::StagingPath(lease)));
  FT_RETURN_IF_ERROR(store.MakeFolder(folder + "/output"));
  FT_ASSIGN_OR_RETURN(const std::string json, TrainerSpecJson(store, lease.spec()));
  FT_RETURN_IF_ERROR(WriteFileAtomically(dir.File("spec.json"), json, 0444));
  TrainerSpec spec;
  spec.argv.assign(config.trainer_command().begin(), config.trainer_command().end());
  std::map<std::string, std::string> environment =
      TrainerEnvironment(config, store, lease, dir, notes, ProcessEnvironment(), FreePort());
  AddComposerReporting(config.trainer_dir(), environment);
  for (const auto& [name, value] : environment) {
    spec.environment.push_back(name + "=" + value);
  }
  spec.cwd = config.trainer_dir();
  spec.stdout_file = store.Absolute(folder + "/" + kStdoutLogName);
  spec.stderr_file = store.Absolute(folder + "/" + kStderrLogName);
  spec.grace = notes.grace;
  spec.deadline_file = deadline_file;
  return spec;
}

}  // namespace finetuned
