#include "daemon/workspace_service.h"

#include "absl/strings/str_cat.h"
#include "base/logging.h"
#include "base/time.h"
#include "daemon/checker.h"
#include "daemon/resource_name.h"
#include "db/edits.h"

namespace finetuned {
namespace {

constexpr size_t kMaxShown = 64;
constexpr int64_t kMinRetentionSeconds = 3600;
constexpr int64_t kMaxRetentionSeconds = int64_t{36'500} * 86'400;

const google::protobuf::MethodDescriptor* Method(const char* name) {
  static const auto* service =
      v1::Workspace::descriptor()->file()->FindServiceByName("WorkspaceService");
  return service->FindMethodByName(name);
}

// A name of a workspace is required here, where a parent may be left out.
absl::Status CheckName(const std::string& field, const std::string& name, const Identity& caller) {
  const absl::Status status = CheckParent(name, caller);
  if (!name.empty() && status.code() != absl::StatusCode::kInvalidArgument) return status;
  return InvalidArgument({{field, "is not `workspaces/{workspace}`", "BAD_NAME"}});
}

absl::Status Read(const ServiceCore& core, const Identity& caller, v1::Workspace* response) {
  FT_ASSIGN_OR_RETURN(const StoredWorkspace workspace,
                      core.edits->GetWorkspace(caller.workspace_id));
  response->set_name(absl::StrCat("workspaces/", workspace.name));
  response->set_share_runs(workspace.share_runs);
  *response->mutable_create_time() = ToProtoTime(workspace.create_time);
  v1::Retention* retention = response->mutable_retention();
  if (workspace.event_seconds > 0) {
    retention->mutable_events_duration()->set_seconds(workspace.event_seconds);
  }
  if (workspace.metric_seconds > 0) {
    retention->mutable_metrics_duration()->set_seconds(workspace.metric_seconds);
  }
  if (workspace.log_seconds > 0) {
    retention->mutable_logs_duration()->set_seconds(workspace.log_seconds);
  }
  return absl::OkStatus();
}

// One of the durations of a retention: its seconds, 0 for good.
void ReadDuration(const std::string& field, bool given, const google::protobuf::Duration& duration,
                  Checker* check, std::optional<int64_t>* seconds) {
  *seconds = 0;
  if (!given) return;
  *seconds = duration.seconds();
  check->Require(duration.nanos() == 0 && duration.seconds() >= kMinRetentionSeconds &&
                     duration.seconds() <= kMaxRetentionSeconds,
                 absl::StrCat("workspace.", field),
                 "is not between an hour and 36,500 days, in whole seconds; leave it out to keep "
                 "them for good",
                 "BAD_DURATION");
}

// What a path of the update mask stands for; false for one that cannot be changed.
bool ReadPath(const std::string& path, const v1::Workspace& workspace, Checker* check,
              WorkspaceEdit* edit) {
  const v1::Retention& retention = workspace.retention();
  const bool all = path == "retention";
  if (path == "share_runs") edit->share_runs = workspace.share_runs();
  if (all || path == "retention.events_duration") {
    ReadDuration("retention.events_duration", retention.has_events_duration(),
                 retention.events_duration(), check, &edit->event_seconds);
  }
  if (all || path == "retention.metrics_duration") {
    ReadDuration("retention.metrics_duration", retention.has_metrics_duration(),
                 retention.metrics_duration(), check, &edit->metric_seconds);
  }
  if (all || path == "retention.logs_duration") {
    ReadDuration("retention.logs_duration", retention.has_logs_duration(),
                 retention.logs_duration(), check, &edit->log_seconds);
  }
  return all || path == "share_runs" || path == "retention.events_duration" ||
         path == "retention.metrics_duration" || path == "retention.logs_duration";
}

absl::Status Update(const ServiceCore& core, const Identity& caller,
                    const v1::UpdateWorkspaceRequest& request, v1::Workspace* response) {
  Checker check;
  WorkspaceEdit edit;
  const absl::Status name = CheckName("workspace.name", request.workspace().name(), caller);
  check.AddAll(name);
  for (const std::string& path : request.update_mask().paths()) {
    if (ReadPath(path, request.workspace(), &check, &edit)) continue;
    check.Add("update_mask",
              absl::StrCat("`", path.substr(0, kMaxShown),
                           "` cannot be changed; share_runs and retention can"),
              "BAD_FIELD_MASK");
    break;
  }
  check.Require(request.update_mask().paths_size() > 0, "update_mask",
                "names nothing to change; there are share_runs and retention", "BAD_FIELD_MASK");
  if (!check.violations().empty()) return InvalidArgument(check.violations());
  FT_RETURN_IF_ERROR(name);
  FT_RETURN_IF_ERROR(core.edits->UpdateWorkspace(caller.workspace_id, edit));
  FT_RETURN_IF_ERROR(Read(core, caller, response));
  const v1::Retention& retention = response->retention();
  Log(LogLevel::kInfo, "workspace updated",
      {{"workspace", caller.workspace},
       {"share_runs", response->share_runs() ? "true" : "false"},
       {"events_seconds", retention.events_duration().seconds()},
       {"metrics_seconds", retention.metrics_duration().seconds()},
       {"logs_seconds", retention.logs_duration().seconds()},
       {"principal", caller.email}});
  return absl::OkStatus();
}

}  // namespace

grpc::ServerUnaryReactor* WorkspaceService::GetWorkspace(grpc::CallbackServerContext* context,
                                                         const v1::GetWorkspaceRequest* request,
                                                         v1::Workspace* response) {
  return HandleUnary(core_.changes, context, Method("GetWorkspace"),
                     [=](const Identity& caller, const Done& done) {
                       const absl::Status name = CheckName("name", request->name(), caller);
                       done(name.ok() ? Read(core_, caller, response) : name);
                     });
}

grpc::ServerUnaryReactor* WorkspaceService::UpdateWorkspace(
    grpc::CallbackServerContext* context, const v1::UpdateWorkspaceRequest* request,
    v1::Workspace* response) {
  return HandleUnary(core_.changes, context, Method("UpdateWorkspace"),
                     [=](const Identity& caller, const Done& done) {
                       done(Update(core_, caller, *request, response));
                     });
}

}  // namespace finetuned
