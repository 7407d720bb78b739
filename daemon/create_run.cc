#include <nlohmann/json.hpp>

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/hash.h"
#include "base/logging.h"
#include "base/time.h"
#include "base/uuid.h"
#include "daemon/canonical.h"
#include "daemon/custom_weights.h"
#include "daemon/quota_error.h"
#include "daemon/run_service.h"
#include "daemon/run_view.h"

namespace finetuned {
namespace {

// A name for a run that was given none: what it trains, and enough at random to be unique among
// millions.
std::string GenerateName(const v1::RunSpec& spec) {
  std::string base;
  for (const char c : spec.model().substr(spec.model().rfind('/') + 1)) {
    const char lower = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    const bool good = (lower >= 'a' && lower <= 'z') || (lower >= '0' && lower <= '9');
    if (good || (lower == '-' && !base.empty())) base += lower;
  }
  if (base.empty() || base[0] < 'a' || base[0] > 'z') base = "run" + base;
  return absl::StrCat(base.substr(0, 50), "-", HexEncode(RandomBytes(6)));
}

// The same for the same request, whatever its request_id.
std::string RequestHash(const v1::CreateRunRequest& request) {
  v1::CreateRunRequest canonical = request;
  canonical.clear_request_id();
  return Sha256(CanonicalBytes(canonical));
}

absl::Status NameTakenError(const std::string& name) {
  return MakeError(absl::StatusCode::kAlreadyExists, "NAME_TAKEN",
                   absl::StrCat("run_id: the name ", name,
                                " is or was used in this workspace; names are not used again"),
                   {{"name", name}});
}

absl::Status ModelTakenError(const std::string& model) {
  return MakeError(absl::StatusCode::kPermissionDenied, "MODEL_NOT_YOURS",
                   absl::StrCat("run.spec.register_to: ", model,
                                " belongs to somebody else of this workspace; choose another name"),
                   {{"model", model}});
}

NewRun ToNewRun(const ValidRun& valid, const v1::CreateRunRequest& request, const Identity& caller,
                const Clock& clock) {
  NewRun run;
  run.workspace_id = caller.workspace_id;
  run.owner_id = caller.owner_id;
  run.shape = ToShape(valid.spec.compute());
  run.priority = static_cast<Priority>(valid.spec.scheduling().priority() - 1);
  run.name = valid.name;
  run.uid = NewUuid(clock.Now());
  run.request_id = valid.request_id.empty() ? NewUuid(clock.Now()) : valid.request_id;
  run.request_hash = RequestHash(request);
  run.spec = valid.spec.SerializeAsString();
  run.model = valid.spec.model();
  run.experiment_path = valid.spec.experiment_path();
  run.register_to = valid.spec.register_to();
  run.source_run_id = valid.source_run_id;
  run.labels_json = nlohmann::json(valid.labels).dump();
  run.max_retries = valid.spec.scheduling().max_retries();
  run.max_queue_seconds =
      absl::ToInt64Seconds(FromProtoDuration(valid.spec.scheduling().max_queue_time()));
  run.max_run_seconds =
      absl::ToInt64Seconds(FromProtoDuration(valid.spec.scheduling().max_run_time()));
  run.checkpoints_kept = valid.spec.save_num_to_keep();
  return run;
}

// A run as it is right after its admission; nothing has to be read for it.
v1::Run Admitted(const ValidRun& valid, const NewRun& stored, const Identity& caller,
                 const Admission& admission) {
  Run run;
  run.run_id = admission.run_id;
  run.workspace = caller.workspace;
  run.owner_email = caller.email;
  run.name = stored.name;
  run.uid = stored.uid;
  run.last_seq = 1;
  run.priority = stored.priority;
  run.create_time = admission.create_time;
  run.update_time = admission.create_time;
  run.labels = valid.labels;
  run.spec = stored.spec;
  run.experiment_path = stored.experiment_path;
  run.experiment_uid = admission.experiment_uid;
  run.max_retries = stored.max_retries;
  run.max_run_seconds = stored.max_run_seconds;
  run.max_queue_seconds = stored.max_queue_seconds;
  run.source_run = valid.source_run;
  return ToProto(run);
}

// Looks up the weights that the run is to start from, unless that is not wanted, and notes whose
// they are; those of a run that the caller may not see are not there.
absl::Status SettleWeights(const ServiceCore& core, const Identity& caller, ValidRun* valid) {
  const std::string given = valid->spec.custom_weights_path();
  if (given.empty()) return absl::OkStatus();
  valid->source_run = RunOfWeights(given, core.run_policy.artifact_root, caller.workspace);
  if (!valid->source_run.empty()) {
    FT_ASSIGN_OR_RETURN(valid->source_run_id,
                        core.reader->FindWeightsRun(ViewerOf(caller), valid->source_run));
    // Nothing is looked at that the caller may not see.
    if (valid->source_run_id == 0) return WeightsNotFound(given, "it is not there");
  }
  if (!valid->spec.validate_inputs()) return absl::OkStatus();
  FT_ASSIGN_OR_RETURN(const std::string settled, FindCustomWeights(given, core.run_policy));
  valid->spec.set_custom_weights_path(settled);
  return absl::OkStatus();
}

// Everything but storing it.
absl::Status RehearseCreate(const ServiceCore& core, const Identity& caller, const ValidRun& valid,
                            v1::Run* response) {
  FT_ASSIGN_OR_RETURN(const bool taken, core.reader->IsNameTaken(caller.workspace_id, valid.name));
  if (taken) return NameTakenError(valid.name);
  if (!valid.spec.register_to().empty()) {
    FT_ASSIGN_OR_RETURN(const auto owner,
                        core.registry->OwnerOf(caller.workspace_id, valid.spec.register_to()));
    if (owner.value_or(caller.owner_id) != caller.owner_id) {
      return ModelTakenError(valid.spec.register_to());
    }
  }
  FT_ASSIGN_OR_RETURN(const auto quota,
                      core.reader->GetQuota(caller.owner_id, core.active_runs_limit));
  if (quota.first >= quota.second) {
    FT_ASSIGN_OR_RETURN(const auto names, core.reader->ActiveRuns(caller.owner_id));
    return ActiveRunsQuotaError(core, caller.email, names, quota.first, quota.second);
  }
  response->set_name(RunName(caller.workspace, valid.name));
  *response->mutable_spec() = valid.spec;
  for (const auto& [key, value] : valid.labels) (*response->mutable_labels())[key] = value;
  response->set_owner(caller.email);
  if (!valid.source_run.empty()) {
    response->set_source_run(RunName(caller.workspace, valid.source_run));
  }
  response->set_artifact_path(ArtifactPath(caller.workspace, valid.name));
  return absl::OkStatus();
}

absl::Status ReadCreated(const ServiceCore& core, int64_t run_id, v1::Run* response) {
  FT_ASSIGN_OR_RETURN(*response, ReadRun(core, run_id));
  return absl::OkStatus();
}

// Answers a create after its batch has committed, but for one that was admitted before.
absl::Status Answer(const ServiceCore& core, const Identity& caller, const ValidRun& valid,
                    const NewRun& run, const absl::StatusOr<Admission>& admission,
                    v1::Run* response) {
  if (!admission.ok()) return admission.status();
  switch (admission->outcome) {
    case Admission::Outcome::kAdmitted: *response = Admitted(valid, run, caller, *admission); break;
    case Admission::Outcome::kReplayed: break;
    case Admission::Outcome::kRequestIdReused:
      return InvalidArgument({{"request_id", "was used before for another request: make a new one",
                               "REQUEST_ID_REUSED"}});
    case Admission::Outcome::kNameTaken: return NameTakenError(valid.name);
    case Admission::Outcome::kModelTaken: return ModelTakenError(valid.spec.register_to());
    case Admission::Outcome::kQuotaReached:
      return ActiveRunsQuotaError(core, caller.email, *admission->holders, admission->active,
                                  admission->active_limit);
  }
  return absl::OkStatus();
}

// Answers a create whose weights are not there. They may have been when the same request came
// before; then its run is the answer, and otherwise `missing`.
absl::Status Replay(const ServiceCore& core, const Identity& caller, const ValidRun& valid,
                    const v1::CreateRunRequest& request, const absl::Status& missing,
                    v1::Run* response) {
  if (valid.request_id.empty() || request.validate_only()) return missing;
  FT_ASSIGN_OR_RETURN(
      const auto before,
      core.reader->FindCreateRequest(caller.owner_id, valid.request_id, RequestHash(request)));
  if (!before.has_value()) return missing;
  if (before->outcome == Admission::Outcome::kReplayed) {
    return ReadCreated(core, before->run_id, response);
  }
  return Answer(core, caller, valid, NewRun(), *before, response);
}

}  // namespace

grpc::ServerUnaryReactor* RunService::CreateRun(grpc::CallbackServerContext* context,
                                                const v1::CreateRunRequest* request,
                                                v1::Run* response) {
  return HandleUnary(
      core_.call, context, Method("CreateRun"), [=](const Identity& caller, const Done& done) {
        auto valid = ValidateCreateRun(*request, caller, core_.run_policy,
                                       GenerateName(request->run().spec()));
        if (!valid.ok()) return done(valid.status());
        if (valid->spec.custom_weights_path().empty()) {
          return Create(caller, *std::move(valid), *request, response, done);
        }
        OnFiles(done, [this, caller, valid = *std::move(valid), request, response, done]() mutable {
          const absl::Status settled = SettleWeights(core_, caller, &valid);
          if (!settled.ok()) {
            return done(Replay(core_, caller, valid, *request, settled, response));
          }
          Create(caller, std::move(valid), *request, response, done);
        });
      });
}

void RunService::Create(const Identity& caller, ValidRun valid, const v1::CreateRunRequest& request,
                        v1::Run* response, const Done& done) {
  if (request.validate_only()) return done(RehearseCreate(core_, caller, valid, response));
  // Shared by the batch and by the answer.
  struct Creation {
    Identity caller;
    ValidRun valid;
    NewRun run;
  };
  NewRun run = ToNewRun(valid, request, caller, *core_.clock);
  const auto creation =
      std::make_shared<const Creation>(Creation{caller, std::move(valid), std::move(run)});
  core_.admitter->Submit(
      {creation, &creation->run},
      [this, creation, response, done](const absl::StatusOr<Admission>& admission) {
        const bool ok = admission.ok();
        const bool replayed = ok && admission->outcome == Admission::Outcome::kReplayed;
        const bool admitted = ok && admission->outcome == Admission::Outcome::kAdmitted;
        if (admitted) core_.metrics->RunAdmitted();
        // A commit in doubt comes back as a replay.
        if (admitted || replayed) {
          core_.RunChanged(admission->run_id, /*desired_changed=*/false);
          core_.QueueChanged();
        }
        if (!replayed) {
          return done(
              Answer(core_, creation->caller, creation->valid, creation->run, admission, response));
        }
        // How it is by now has to be read, and this is the batcher's thread.
        const bool accepted =
            core_.call.executor->Submit([this, run_id = admission->run_id, response, done] {
              done(ReadCreated(core_, run_id, response));
            });
        if (!accepted) {
          done(UnavailableError("OVERLOADED", "the daemon is stopping", absl::Seconds(1)));
        }
      });
}

}  // namespace finetuned
