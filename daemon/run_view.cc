#include "daemon/run_view.h"

#include "absl/strings/str_cat.h"
#include "base/time.h"

namespace finetuned {

std::string RunName(const std::string& workspace, const std::string& name) {
  return absl::StrCat("workspaces/", workspace, "/runs/", name);
}

std::string ExperimentName(const std::string& workspace, const std::string& uid) {
  return absl::StrCat("workspaces/", workspace, "/experiments/", uid);
}

std::string ArtifactPath(const std::string& workspace, const std::string& name) {
  return RunName(workspace, name);
}

std::string CheckpointsPath(const std::string& workspace, const std::string& name,
                            const std::string& experiment_path) {
  const std::string experiment = experiment_path.substr(experiment_path.rfind('/') + 1);
  return absl::StrCat(ArtifactPath(workspace, name), "/artifacts/", experiment, "/checkpoints");
}

std::string RegisteredModelName(const std::string& workspace, const std::string& model) {
  return absl::StrCat("workspaces/", workspace, "/registeredModels/", model);
}

std::string RegisterPath(const std::string& workspace, const std::string& model,
                         const std::string& run) {
  return absl::StrCat("workspaces/", workspace, "/models/", model, "/", run);
}

v1::Run ToProto(const Run& run) {
  v1::Run proto;
  proto.set_name(RunName(run.workspace, run.name));
  proto.set_uid(run.uid);
  proto.mutable_spec()->ParseFromString(run.spec);
  // The specification is what was asked for at create; these may have been changed since.
  v1::Scheduling* scheduling = proto.mutable_spec()->mutable_scheduling();
  scheduling->set_priority(
      static_cast<v1::Scheduling::Priority>(static_cast<int>(run.priority) + 1));
  scheduling->set_max_retries(run.max_retries);
  scheduling->clear_max_queue_time();
  if (run.max_queue_seconds > 0) {
    scheduling->mutable_max_queue_time()->set_seconds(run.max_queue_seconds);
  }
  scheduling->clear_max_run_time();
  if (run.max_run_seconds > 0) scheduling->mutable_max_run_time()->set_seconds(run.max_run_seconds);
  for (const auto& [key, value] : run.labels) (*proto.mutable_labels())[key] = value;
  for (const auto& [name, page] : run.links) (*proto.mutable_links())[name] = page;
  proto.set_owner(run.owner_email);
  proto.set_state(static_cast<v1::Run::State>(run.state));
  proto.set_state_reason(run.state_reason);
  proto.set_attempt(run.epoch);
  proto.set_last_seq(run.last_seq);
  if (!run.progress.empty()) proto.mutable_progress()->ParseFromString(run.progress);
  proto.set_latest_checkpoint(run.latest_checkpoint);
  proto.set_artifact_path(ArtifactPath(run.workspace, run.name));
  if (!run.failure.empty()) proto.mutable_failure()->ParseFromString(run.failure);
  proto.set_stop_requested(static_cast<v1::StopKind>(run.stop_requested));
  *proto.mutable_create_time() = ToProtoTime(run.create_time);
  *proto.mutable_update_time() = ToProtoTime(run.update_time);
  if (run.start_time) *proto.mutable_start_time() = ToProtoTime(*run.start_time);
  if (run.end_time) *proto.mutable_end_time() = ToProtoTime(*run.end_time);
  if (run.estimated_end_time) {
    *proto.mutable_estimated_end_time() = ToProtoTime(*run.estimated_end_time);
  }
  proto.set_worker(run.worker);
  proto.set_etag(EtagOf(run.last_seq, run.update_time));
  proto.set_experiment(ExperimentName(run.workspace, run.experiment_uid));
  if (run.registered_version > 0) {
    proto.set_registered_version(
        absl::StrCat(RegisteredModelName(run.workspace, proto.spec().register_to()), "/versions/",
                     run.registered_version));
  }
  if (!run.source_run.empty()) proto.set_source_run(RunName(run.workspace, run.source_run));
  return proto;
}

v1::RunEvent ToProto(const Event& event) {
  v1::RunEvent proto;
  proto.ParseFromString(event.detail);
  proto.set_seq(event.seq);
  proto.set_type(static_cast<v1::RunEvent::Type>(event.type));
  *proto.mutable_event_time() = ToProtoTime(event.event_time);
  proto.set_attempt(event.epoch);
  proto.set_message(event.message);
  return proto;
}

size_t AddEvents(const std::vector<Event>& events,
                 google::protobuf::RepeatedPtrField<v1::RunEvent>* out) {
  size_t bytes = 0;
  for (const Event& event : events) {
    v1::RunEvent proto = ToProto(event);
    bytes += proto.ByteSizeLong();
    if (!out->empty() && bytes > kMaxResponseBytes) break;
    *out->Add() = std::move(proto);
  }
  return static_cast<size_t>(out->size());
}

v1::Attempt ToProto(const StoredAttempt& attempt) {
  v1::Attempt proto;
  proto.set_attempt(attempt.epoch);
  proto.set_worker(attempt.worker);
  *proto.mutable_create_time() = ToProtoTime(attempt.create_time);
  if (attempt.start_time) *proto.mutable_start_time() = ToProtoTime(*attempt.start_time);
  if (attempt.end_time) *proto.mutable_end_time() = ToProtoTime(*attempt.end_time);
  proto.set_end_reason(attempt.end_reason);
  proto.set_attribution(static_cast<v1::Failure::Attribution>(attempt.attribution));
  *proto.mutable_held_duration() = ToProtoDuration(attempt.held);
  *proto.mutable_compute() = ToProto(attempt.shape);
  proto.set_checkpoint(attempt.checkpoint);
  return proto;
}

v1::Checkpoint ToProto(const StoredCheckpoint& checkpoint) {
  v1::Checkpoint proto;
  proto.ParseFromString(checkpoint.detail);
  proto.set_attempt(checkpoint.epoch);
  *proto.mutable_create_time() = ToProtoTime(checkpoint.create_time);
  return proto;
}

v1::Compute ToProto(const Shape& shape) {
  v1::Compute proto;
  proto.set_gpus(shape.gpus);
  proto.set_gpu_type(shape.gpu_type);
  proto.set_cpus(shape.cpus);
  proto.set_memory_bytes(shape.memory_bytes);
  proto.set_nodes(1);
  return proto;
}

Shape ToShape(const v1::Compute& compute) {
  return Shape{compute.gpus(), compute.gpu_type(), compute.cpus(), compute.memory_bytes()};
}

v1::Failure ToProto(const Failure& failure) {
  v1::Failure proto;
  proto.set_code(failure.code);
  proto.set_message(failure.message);
  proto.set_attribution(static_cast<v1::Failure::Attribution>(failure.attribution));
  if (failure.exit_code) proto.set_exit_code(*failure.exit_code);
  proto.set_signal(failure.signal);
  proto.set_stderr_tail(failure.stderr_tail);
  return proto;
}

Failure FromProto(const v1::Failure& proto) {
  Failure failure;
  failure.code = proto.code();
  failure.message = proto.message();
  failure.attribution = v1::Failure::Attribution_IsValid(proto.attribution())
                            ? static_cast<Attribution>(proto.attribution())
                            : Attribution::kUnknown;
  if (proto.has_exit_code()) failure.exit_code = proto.exit_code();
  failure.signal = proto.signal();
  failure.stderr_tail = proto.stderr_tail();
  return failure;
}

bool IsOnline(const StoredWorker& worker) {
  return worker.has_session && !worker.draining && worker.seen_ago <= kSuspectAfter;
}

bool InQuarantine(const StoredWorker& worker) { return worker.quarantine_end_time.has_value(); }

Shape FreeOf(const StoredWorker& worker) { return Minus(worker.capacity, worker.used); }

v1::Worker ToProto(const StoredWorker& worker) {
  v1::Worker proto;
  proto.set_name(worker.name);
  if (!worker.has_session) {
    proto.set_state(v1::Worker::OFFLINE);
  } else if (worker.seen_ago > kSuspectAfter) {
    proto.set_state(v1::Worker::SUSPECT);
  } else if (worker.draining) {
    proto.set_state(v1::Worker::DRAINING);
  } else {
    proto.set_state(InQuarantine(worker) ? v1::Worker::QUARANTINED : v1::Worker::ONLINE);
  }
  proto.set_loss_count(worker.loss_count);
  if (worker.quarantine_end_time) {
    *proto.mutable_quarantine_end_time() = ToProtoTime(*worker.quarantine_end_time);
  }
  *proto.mutable_capacity() = ToProto(worker.capacity);
  *proto.mutable_free() = ToProto(FreeOf(worker));
  for (const auto& [key, value] : worker.labels) (*proto.mutable_labels())[key] = value;
  proto.set_version(worker.version);
  *proto.mutable_last_seen_time() = ToProtoTime(worker.last_seen_time);
  proto.set_attempt_count(worker.attempt_count);
  return proto;
}

}  // namespace finetuned
