#pragma once

#include "daemon/service_core.h"
#include "finetuned/v1/experiment_service.grpc.pb.h"

namespace finetuned {

// The groups that runs are in; proto/finetuned/v1/experiment_service.proto is its contract.
class ExperimentService final : public v1::ExperimentService::CallbackService {
 public:
  explicit ExperimentService(const ServiceCore* core) : core_(*core) {}

  grpc::ServerUnaryReactor* ListExperiments(grpc::CallbackServerContext* context,
                                            const v1::ListExperimentsRequest* request,
                                            v1::ListExperimentsResponse* response) override;
  grpc::ServerUnaryReactor* GetExperiment(grpc::CallbackServerContext* context,
                                          const v1::GetExperimentRequest* request,
                                          v1::Experiment* response) override;

 private:
  const ServiceCore& core_;
};

}  // namespace finetuned
