#include "daemon/worker_messages.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "artifacts/beneath.h"
#include "base/link.h"
#include "base/status.h"
#include "base/time.h"
#include "daemon/run_view.h"
#include "daemon/text.h"

namespace finetuned {
namespace {

constexpr size_t kMaxReportBytes = 64 << 10;
constexpr size_t kMaxStderrTail = 4 << 10;
// What a run and its events keep of the words of a trainer.
constexpr size_t kMaxMessage = 2 << 10;
constexpr size_t kMaxFailureCode = 63;
constexpr size_t kMaxFileName = 255;
constexpr size_t kSha256HexBytes = 64;

absl::Status Bad(const std::string& what) {
  return InvalidArgument({{"items.reports", what, "BAD_REPORT"}});
}

bool AreUsable(const v1::Links& links) {
  if (links.pages().empty() || links.pages().size() > kMaxLinks) return false;
  for (const auto& [name, page] : links.pages()) {
    if (!IsLink(name, page)) return false;
  }
  return true;
}

// The detail that each type has.
bool DetailFits(const v1::RunEvent& event) {
  switch (event.type()) {
    case v1::RunEvent::TRAIN_UPDATED: return event.has_progress();
    case v1::RunEvent::EVALUATED: return event.has_evaluation();
    case v1::RunEvent::PROMPT_ANSWERED: return event.has_prompt_answer();
    case v1::RunEvent::CHECKPOINT_SAVED: return event.has_checkpoint();
    case v1::RunEvent::DATA_VALIDATED:
      return event.has_data() || event.detail_case() == v1::RunEvent::DETAIL_NOT_SET;
    case v1::RunEvent::RESUMED:
      return event.has_checkpoint() || event.detail_case() == v1::RunEvent::DETAIL_NOT_SET;
    case v1::RunEvent::LINKED: return event.has_links() && AreUsable(event.links());
    case v1::RunEvent::OTHER:
      return event.detail_case() == v1::RunEvent::kRawJson ||
             event.detail_case() == v1::RunEvent::DETAIL_NOT_SET;
    default: return event.detail_case() == v1::RunEvent::DETAIL_NOT_SET;
  }
}

bool IsFileName(const std::string& name) {
  return !name.empty() && name.size() <= kMaxFileName && name != "." && name != ".." &&
         name.find('/') == std::string::npos && !HasControl(name);
}

// What the attempts to come, and users, will open.
bool IsUsable(const v1::Checkpoint& checkpoint) {
  return IsFileName(checkpoint.name()) && !checkpoint.path().empty() &&
         SplitArtifactPath(checkpoint.path()).ok() &&
         SplitArtifactPath(checkpoint.huggingface_path()).ok();
}

bool IsSpan(const google::protobuf::Duration& duration) {
  return IsValid(duration) && FromProtoDuration(duration) >= absl::ZeroDuration();
}

ProgressNumbers NumbersOf(const v1::Progress& progress) {
  ProgressNumbers numbers;
  numbers.epoch = progress.epoch();
  numbers.epochs = progress.epochs();
  numbers.batch = progress.batch();
  numbers.batches = progress.batches();
  numbers.tokens = progress.tokens();
  numbers.max_tokens = progress.max_tokens();
  numbers.step = progress.step();
  numbers.total_steps = progress.total_steps();
  numbers.trained = FromProtoDuration(progress.trained_duration());
  numbers.trained_steps = progress.trained_steps();
  numbers.trained_tokens = progress.trained_tokens();
  if (progress.has_trained_duration()) {
    numbers.remaining = EstimateRemaining(numbers);
  } else if (progress.has_remaining_duration()) {
    // A worker of the version before estimates by itself.
    numbers.remaining = FromProtoDuration(progress.remaining_duration());
  }
  if (progress.has_train_loss()) numbers.train_loss = progress.train_loss();
  return numbers;
}

std::string MessageOf(const v1::RunEvent& event) {
  switch (event.type()) {
    case v1::RunEvent::STARTED: return StartedMessage();
    case v1::RunEvent::DATA_VALIDATED: return DataValidatedMessage();
    case v1::RunEvent::MODEL_INITIALIZED: return ModelInitializedMessage(event.message());
    case v1::RunEvent::TRAIN_UPDATED: return TrainUpdatedMessage(NumbersOf(event.progress()));
    case v1::RunEvent::TRAIN_FINISHED: return TrainFinishedMessage();
    case v1::RunEvent::EVALUATED:
      return EvaluatedMessage(event.evaluation().loss(), event.evaluation().step());
    case v1::RunEvent::PROMPT_ANSWERED:
      return PromptAnsweredMessage(event.prompt_answer().prompt(), event.prompt_answer().response(),
                                   event.prompt_answer().step());
    case v1::RunEvent::CHECKPOINT_SAVED: return CheckpointSavedMessage(event.checkpoint().path());
    case v1::RunEvent::RESUMED:
      return ResumedMessage(event.has_checkpoint() ? event.checkpoint().name() : event.message());
    case v1::RunEvent::LINKED:
      return LinkedMessage({event.links().pages().begin(), event.links().pages().end()});
    default: return event.message();
  }
}

}  // namespace

absl::StatusOr<IncomingReport> ToIncomingReport(const v1::Report& report) {
  const v1::RunEvent& event = report.event();
  if (report.number() < 1) return Bad("a report has a number below 1");
  if (report.ByteSizeLong() > kMaxReportBytes) return Bad("a report is larger than 64 KiB");
  if (!v1::RunEvent::Type_IsValid(event.type()) || event.type() == v1::RunEvent::TYPE_UNSPECIFIED) {
    return Bad("a report has no type that this version knows");
  }
  if (!DetailFits(event)) {
    return Bad(
        absl::StrCat("the detail does not belong to ", v1::RunEvent::Type_Name(event.type())));
  }
  if (event.has_worker_time() && !IsValid(event.worker_time()))
    return Bad("worker_time is no time");
  if (event.has_progress() && event.progress().has_remaining_duration() &&
      !IsSpan(event.progress().remaining_duration())) {
    return Bad("remaining_duration is no time that can be left");
  }
  if (event.has_progress() && event.progress().has_trained_duration() &&
      !IsSpan(event.progress().trained_duration())) {
    return Bad("trained_duration is no time that can have gone by");
  }
  if (event.has_checkpoint() && !IsUsable(event.checkpoint())) {
    return Bad(
        "a checkpoint's name is no file name, or a path does not lead below the artifact root");
  }
  IncomingReport incoming;
  incoming.number = report.number();
  incoming.metric_bytes = report.metric_bytes();
  incoming.type = static_cast<EventType>(event.type());
  // Refusing a trainer's words would leave the worker with a report that it can never deliver.
  incoming.message = OneLine(MessageOf(event), kMaxMessage);
  v1::RunEvent detail = event;
  if (event.has_progress()) {
    incoming.remaining = NumbersOf(event.progress()).remaining;
    v1::Progress& progress = *detail.mutable_progress();
    progress.clear_remaining_duration();
    if (incoming.remaining.has_value()) {
      *progress.mutable_remaining_duration() = ToProtoDuration(*incoming.remaining);
    }
    incoming.progress = progress.SerializeAsString();
  }
  detail.clear_seq();
  detail.clear_type();
  detail.clear_event_time();
  detail.clear_attempt();
  detail.clear_message();
  incoming.detail = detail.SerializeAsString();
  if (event.has_links()) {
    incoming.links_json =
        nlohmann::json(std::map<std::string, std::string>(event.links().pages().begin(),
                                                          event.links().pages().end()))
            .dump();
  }
  if (event.type() == v1::RunEvent::CHECKPOINT_SAVED) {
    const v1::Checkpoint& checkpoint = event.checkpoint();
    incoming.checkpoint = SavedCheckpoint{checkpoint.name(), checkpoint.path(), checkpoint.step(),
                                          checkpoint.SerializeAsString()};
  }
  return incoming;
}

AttemptEnd ToAttemptEnd(const v1::AttemptEnd& proto) {
  AttemptEnd end;
  end.finished = proto.finished();
  if (proto.has_exit_code()) end.exit_code = proto.exit_code();
  end.signal = proto.signal();
  end.signaled_by_worker = proto.signaled_by_worker();
  end.out_of_memory = proto.out_of_memory();
  end.stop =
      v1::StopKind_IsValid(proto.stop()) ? static_cast<StopKind>(proto.stop()) : StopKind::kNone;
  if (proto.has_failure()) {
    end.failure = FromProto(proto.failure());
    end.failure.code = OneLine(end.failure.code, kMaxFailureCode);
    end.failure.message = OneLine(end.failure.message, kMaxMessage);
    end.failure.stderr_tail = LastLines(end.failure.stderr_tail, kMaxStderrTail);
  }
  end.lost = proto.lost();
  if (proto.has_model()) {
    end.model = ModelFiles{OneLine(proto.model().checkpoint(), kMaxMessage),
                           std::max<int64_t>(0, proto.model().size_bytes()),
                           OneLine(proto.model().manifest_sha256(), kSha256HexBytes)};
  }
  return end;
}

v1::Lease ToProto(const LeasedRun& lease) {
  v1::Lease proto;
  *proto.mutable_attempt() = ToProto(lease.attempt);
  proto.set_run(RunName(lease.workspace, lease.name));
  proto.mutable_spec()->ParseFromString(lease.spec);
  proto.set_artifact_path(ArtifactPath(lease.workspace, lease.name));
  proto.set_checkpoints_path(CheckpointsPath(lease.workspace, lease.name, lease.experiment_path));
  proto.set_resume_from(lease.resume_from);
  if (lease.registers) {
    proto.set_register_path(RegisterPath(lease.workspace, proto.spec().register_to(), lease.name));
  }
  proto.set_desired_stop(static_cast<v1::StopKind>(lease.stop_requested));
  proto.set_acked_report(lease.acked_report);
  for (const std::string& name : lease.checkpoints) proto.add_checkpoints(name);
  return proto;
}

v1::AttemptRef ToProto(const AttemptId& attempt) {
  v1::AttemptRef proto;
  proto.set_run_id(attempt.run_id);
  proto.set_epoch(attempt.epoch);
  return proto;
}

AttemptId ToAttemptId(const v1::AttemptRef& attempt) { return {attempt.run_id(), attempt.epoch()}; }

FailureEncoder MakeFailureEncoder() {
  FailureEncoder encoder;
  encoder.event_detail = [](const Failure& failure) {
    v1::RunEvent event;
    *event.mutable_failure() = ToProto(failure);
    return event.SerializeAsString();
  };
  encoder.failure = [](const Failure& failure) { return ToProto(failure).SerializeAsString(); };
  return encoder;
}

v1::ProtocolTimes TimesOf(const LeaseTimes& times) {
  v1::ProtocolTimes proto;
  *proto.mutable_renew_interval_duration() = ToProtoDuration(times.renew_interval);
  *proto.mutable_self_stop_duration() = ToProtoDuration(times.self_stop);
  *proto.mutable_grace_duration() = ToProtoDuration(times.grace);
  *proto.mutable_reassign_duration() = ToProtoDuration(times.reassign);
  return proto;
}

bool IsWorkerName(const std::string& name) {
  if (name.empty() || name.size() > 63) return false;
  const auto alnum = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  for (const char c : name) {
    if (!alnum(c) && c != '-' && c != '.') return false;
  }
  return alnum(name.front()) && alnum(name.back());
}

}  // namespace finetuned
