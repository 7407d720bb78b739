#pragma once

#include <string>
#include <vector>

#include "db/reads.h"
#include "finetuned/v1/event.pb.h"
#include "finetuned/v1/run_service.pb.h"
#include "queue/event.h"
#include "queue/placement.h"
#include "queue/retry_policy.h"
#include "queue/run.h"

// From what is stored to what the API shows, and back.

namespace finetuned {

// `workspaces/{workspace}/runs/{run}`
std::string RunName(const std::string& workspace, const std::string& name);

// `workspaces/{workspace}/experiments/{uid}`
std::string ExperimentName(const std::string& workspace, const std::string& uid);

// `workspaces/{workspace}/registeredModels/{model}`
std::string RegisteredModelName(const std::string& workspace, const std::string& model);

// Folders of a run, relative to the artifact root.
std::string ArtifactPath(const std::string& workspace, const std::string& name);
// `<run folder>/artifacts/<last part of the experiment's path>/checkpoints`
std::string CheckpointsPath(const std::string& workspace, const std::string& name,
                            const std::string& experiment_path);
// Where a run's final weights lie as a version of a model.
std::string RegisterPath(const std::string& workspace, const std::string& model,
                         const std::string& run);

v1::Run ToProto(const Run& run);
v1::RunEvent ToProto(const Event& event);
// Bytes of what a response lists; clients take messages of 4 MiB.
inline constexpr size_t kMaxResponseBytes = 1 << 20;

// Adds as many of the events as fit into one message, at least the first, and returns how many.
size_t AddEvents(const std::vector<Event>& events,
                 google::protobuf::RepeatedPtrField<v1::RunEvent>* out);
v1::Checkpoint ToProto(const StoredCheckpoint& checkpoint);
v1::Attempt ToProto(const StoredAttempt& attempt);
v1::Compute ToProto(const Shape& shape);
v1::Failure ToProto(const Failure& failure);
v1::Worker ToProto(const StoredWorker& worker);

Shape ToShape(const v1::Compute& compute);
Failure FromProto(const v1::Failure& failure);

// A worker that was not heard of for longer is SUSPECT.
inline constexpr absl::Duration kSuspectAfter = absl::Minutes(1);
// Whether a worker takes runs now, as far as is known.
bool IsOnline(const StoredWorker& worker);
// Whether it gets nothing, or one attempt on trial, because it has lost too many.
bool InQuarantine(const StoredWorker& worker);
Shape FreeOf(const StoredWorker& worker);

}  // namespace finetuned
