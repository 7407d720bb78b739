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
  return absl::OkStatus();
}

absl::Status Update(const ServiceCore& core, const Identity& caller,
                    const v1::UpdateWorkspaceRequest& request, v1::Workspace* response) {
  Checker check;
  const absl::Status name = CheckName("workspace.name", request.workspace().name(), caller);
  check.AddAll(name);
  for (const std::string& path : request.update_mask().paths()) {
    if (path == "share_runs") continue;
    check.Add("update_mask",
              absl::StrCat("`", path.substr(0, kMaxShown), "` cannot be changed; share_runs can"),
              "BAD_FIELD_MASK");
    break;
  }
  check.Require(request.update_mask().paths_size() > 0, "update_mask",
                "names nothing to change; there is share_runs", "BAD_FIELD_MASK");
  if (!check.violations().empty()) return InvalidArgument(check.violations());
  FT_RETURN_IF_ERROR(name);
  FT_RETURN_IF_ERROR(core.edits->ShareRuns(caller.workspace_id, request.workspace().share_runs()));
  Log(LogLevel::kInfo, "workspace updated",
      {{"workspace", caller.workspace},
       {"share_runs", request.workspace().share_runs() ? "true" : "false"},
       {"principal", caller.email}});
  return Read(core, caller, response);
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
