#include "absl/strings/str_cat.h"
#include "base/time.h"
#include "daemon/resource_name.h"
#include "daemon/run_service.h"
#include "daemon/run_view.h"
#include "daemon/validate_run.h"

namespace finetuned {
namespace {

constexpr char kEditable[] =
    "labels, spec.scheduling.priority, spec.scheduling.max_retries, spec.scheduling.max_run_time, "
    "spec.scheduling.max_queue_time";
// Of an etag or a path that is shown.
constexpr size_t kMaxShown = 64;

// Takes the fields of the mask, and only those.
absl::StatusOr<RunEdit> EditOf(const v1::UpdateRunRequest& request, const Identity& caller) {
  Checker check;
  RunEdit edit;
  const v1::Run& run = request.run();
  // What the mask does not name is checked as if it were not there.
  v1::Scheduling scheduling;
  for (const std::string& path : request.update_mask().paths()) {
    const v1::Scheduling& wanted = run.spec().scheduling();
    if (path == "labels") {
      CheckLabels(run.labels(), "run.labels", &check);
      edit.labels.emplace(run.labels().begin(), run.labels().end());
    } else if (path == "spec.scheduling.priority") {
      check.Require(wanted.priority() != v1::Scheduling::PRIORITY_UNSPECIFIED,
                    "run.spec.scheduling.priority", "is none of HIGH, AUTO, LOW, LOWEST");
      scheduling.set_priority(wanted.priority());
      edit.priority = static_cast<Priority>(wanted.priority() - 1);
    } else if (path == "spec.scheduling.max_retries") {
      scheduling.set_max_retries(wanted.max_retries());
      edit.max_retries = wanted.max_retries();
    } else if (path == "spec.scheduling.max_queue_time") {
      if (wanted.has_max_queue_time()) {
        *scheduling.mutable_max_queue_time() = wanted.max_queue_time();
      }
      edit.max_queue_seconds = wanted.max_queue_time().seconds();
    } else if (path == "spec.scheduling.max_run_time") {
      if (wanted.has_max_run_time()) *scheduling.mutable_max_run_time() = wanted.max_run_time();
      edit.max_run_seconds = wanted.max_run_time().seconds();
    } else {
      check.Add("update_mask",
                absl::StrCat("`", path.substr(0, kMaxShown),
                             "` cannot be changed; these can: ", kEditable),
                "BAD_FIELD_MASK");
      break;
    }
  }
  check.Require(request.update_mask().paths_size() > 0, "update_mask",
                absl::StrCat("names nothing to change; there are ", kEditable), "BAD_FIELD_MASK");
  CheckScheduling(&scheduling, &check);
  const absl::Status name = ParseRunName(run.name(), caller).status();
  if (name.code() == absl::StatusCode::kInvalidArgument) {
    check.Add("run.name", "can be no run's name", "BAD_NAME");
  }
  if (!check.violations().empty()) return InvalidArgument(check.violations());
  if (edit.priority.has_value()) {
    FT_RETURN_IF_ERROR(CheckPriorityRight(scheduling.priority(), caller));
  }
  return edit;
}

absl::Status Update(const ServiceCore& core, const Identity& caller,
                    const v1::UpdateRunRequest& request, v1::Run* response) {
  FT_ASSIGN_OR_RETURN(const RunEdit edit, EditOf(request, caller));
  FT_ASSIGN_OR_RETURN(const int64_t run_id, FindOwnRun(core, caller, request.run().name()));
  FT_RETURN_IF_ERROR(core.edits->UpdateRun(run_id, request.run().etag(), edit));
  core.RunChanged(run_id, /*desired_changed=*/false);
  core.QueueChanged();
  FT_ASSIGN_OR_RETURN(*response, ReadRun(core, run_id));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<int64_t> FindOwnRun(const ServiceCore& core, const Identity& caller,
                                   const std::string& name) {
  FT_ASSIGN_OR_RETURN(const std::string last, ParseRunName(name, caller));
  FT_ASSIGN_OR_RETURN(const std::vector<int64_t> ids,
                      core.reader->FindRuns(OwnerOf(caller), {last}));
  if (ids[0] == 0) return RunNotFound(last);
  return ids[0];
}

grpc::ServerUnaryReactor* RunService::UpdateRun(grpc::CallbackServerContext* context,
                                                const v1::UpdateRunRequest* request,
                                                v1::Run* response) {
  return HandleUnary(core_.changes, context, Method("UpdateRun"),
                     [=](const Identity& caller, const Done& done) {
                       done(Update(core_, caller, *request, response));
                     });
}

grpc::ServerUnaryReactor* RunService::DeleteRun(grpc::CallbackServerContext* context,
                                                const v1::DeleteRunRequest* request,
                                                google::protobuf::Empty*) {
  return HandleUnary(core_.changes, context, Method("DeleteRun"),
                     [=](const Identity& caller, const Done& done) {
                       const auto run_id = FindOwnRun(core_, caller, request->name());
                       if (!run_id.ok()) return done(run_id.status());
                       done(core_.edits->DeleteRun(*run_id, request->etag()));
                     });
}

}  // namespace finetuned
