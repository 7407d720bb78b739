#pragma once

#include "daemon/service_core.h"
#include "finetuned/v1/workspace_service.grpc.pb.h"

namespace finetuned {

// Who sees whose runs; proto/finetuned/v1/workspace_service.proto is its contract.
class WorkspaceService final : public v1::WorkspaceService::CallbackService {
 public:
  explicit WorkspaceService(const ServiceCore* core) : core_(*core) {}

  grpc::ServerUnaryReactor* GetWorkspace(grpc::CallbackServerContext* context,
                                         const v1::GetWorkspaceRequest* request,
                                         v1::Workspace* response) override;
  grpc::ServerUnaryReactor* UpdateWorkspace(grpc::CallbackServerContext* context,
                                            const v1::UpdateWorkspaceRequest* request,
                                            v1::Workspace* response) override;

 private:
  const ServiceCore& core_;
};

}  // namespace finetuned
