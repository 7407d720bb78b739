#include "daemon/checker.h"
#include "daemon/quota_error.h"
#include "daemon/resource_name.h"
#include "daemon/run_service.h"
#include "daemon/text.h"
#include "queue/pause.h"

namespace finetuned {
namespace {

constexpr size_t kMaxReason = 256;

absl::Status Pause(const ServiceCore& core, const Identity& caller,
                   const v1::PauseRunRequest& request, v1::Run* response) {
  Checker check;
  if (CharacterCount(request.reason()) > kMaxReason) {
    check.Add("reason", "has more than 256 characters", "TOO_LONG");
  } else if (HasControl(request.reason())) {
    check.Add("reason", "has control characters", "BAD_REASON");
  }
  const absl::Status name = ParseRunName(request.name(), caller).status();
  if (name.code() == absl::StatusCode::kInvalidArgument) {
    check.Add("name", "can be no run's name", "BAD_NAME");
  }
  if (!check.violations().empty()) return InvalidArgument(check.violations());
  FT_ASSIGN_OR_RETURN(const int64_t run_id, FindOwnRun(core, caller, request.name()));
  const auto paused = core.transitions->Pause(
      run_id, request.reason().empty() ? "Paused by user." : request.reason());
  if (ErrorReason(paused.status()) == "PAUSED_RUNS_QUOTA") {
    // An admin may pause another's run.
    FT_ASSIGN_OR_RETURN(const v1::Run run, ReadRun(core, run_id));
    return WithQuotaFailure(paused.status(), run.owner(), "paused_runs", kMaxPausedRuns,
                            kMaxPausedRuns);
  }
  FT_RETURN_IF_ERROR(paused.status());
  core.RunMoved(run_id, paused->from, paused->to, paused->told);
  FT_ASSIGN_OR_RETURN(*response, ReadRun(core, run_id));
  return absl::OkStatus();
}

absl::Status Resume(const ServiceCore& core, const Identity& caller,
                    const v1::ResumeRunRequest& request, v1::Run* response) {
  FT_ASSIGN_OR_RETURN(const int64_t run_id, FindOwnRun(core, caller, request.name()));
  FT_ASSIGN_OR_RETURN(const Admission admission, core.admission->Resume(run_id));
  const bool admitted = admission.outcome == Admission::Outcome::kAdmitted;
  if (admitted) core.RunMoved(run_id, RunState::kPaused, RunState::kPending, false);
  FT_ASSIGN_OR_RETURN(*response, ReadRun(core, run_id));
  if (admitted) return absl::OkStatus();
  return ActiveRunsQuotaError(core, response->owner(), *admission.holders, admission.active,
                              admission.active_limit);
}

}  // namespace

grpc::ServerUnaryReactor* RunService::PauseRun(grpc::CallbackServerContext* context,
                                               const v1::PauseRunRequest* request,
                                               v1::Run* response) {
  return HandleUnary(core_.changes, context, Method("PauseRun"),
                     [=](const Identity& caller, const Done& done) {
                       done(Pause(core_, caller, *request, response));
                     });
}

grpc::ServerUnaryReactor* RunService::ResumeRun(grpc::CallbackServerContext* context,
                                                const v1::ResumeRunRequest* request,
                                                v1::Run* response) {
  return HandleUnary(core_.changes, context, Method("ResumeRun"),
                     [=](const Identity& caller, const Done& done) {
                       done(Resume(core_, caller, *request, response));
                     });
}

}  // namespace finetuned
