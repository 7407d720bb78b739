#pragma once

#include "daemon/service_core.h"
#include "finetuned/v1/model_service.grpc.pb.h"

namespace finetuned {

// Models that runs can start from, and those they register; proto/finetuned/v1/model_service.proto
// is its contract.
class ModelService final : public v1::ModelService::CallbackService {
 public:
  explicit ModelService(const ServiceCore* core) : core_(*core) {}

  grpc::ServerUnaryReactor* ListModels(grpc::CallbackServerContext* context,
                                       const v1::ListModelsRequest* request,
                                       v1::ListModelsResponse* response) override;
  grpc::ServerUnaryReactor* ListRegisteredModels(
      grpc::CallbackServerContext* context, const v1::ListRegisteredModelsRequest* request,
      v1::ListRegisteredModelsResponse* response) override;
  grpc::ServerUnaryReactor* GetRegisteredModel(grpc::CallbackServerContext* context,
                                               const v1::GetRegisteredModelRequest* request,
                                               v1::RegisteredModel* response) override;

 private:
  const ServiceCore& core_;
};

}  // namespace finetuned
