#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "artifacts/artifact_store.h"
#include "finetuned/config/v1/config.pb.h"
#include "worker/attempt_dir.h"
#include "worker/engine.h"

namespace finetuned {

inline constexpr int kTrainerContract = 1;
// As long as the hosted product waited for a trainer without activity (its RunTimeoutError).
inline constexpr absl::Duration kDefaultStallTime = absl::Minutes(30);

// How long a trainer may say nothing before it is taken to hang.
absl::Duration StallTimeOf(const config::v1::WorkerConfig& config);

// The environment of a trainer under the trainer contract: an allow-list of the agent's own
// variables (PATH, HOME, LANG, TZ, and `pass_environment`), and what the contract names. Nothing
// else of the agent's gets in. `master_port` is a free port of this host. Pure.
std::map<std::string, std::string> TrainerEnvironment(
    const config::v1::WorkerConfig& config, const ArtifactStore& store, const v1::Lease& lease,
    const AttemptDir& dir, const AttemptNotes& notes,
    const std::map<std::string, std::string>& agent_environment, int master_port);

// RunSpec as the trainer reads it: JSON with the proto's field names; a relative
// custom_weights_path made absolute.
absl::StatusOr<std::string> TrainerSpecJson(const ArtifactStore& store, const v1::RunSpec& spec);

// Makes the folders and files an attempt needs and says how to start it. `deadline_file`: see
// TrainerSpec. Errors are those of the filesystem.
absl::StatusOr<TrainerSpec> PrepareTrainer(const config::v1::WorkerConfig& config,
                                           const ArtifactStore& store, const v1::Lease& lease,
                                           const AttemptDir& dir, const AttemptNotes& notes,
                                           const std::string& deadline_file);

}  // namespace finetuned
