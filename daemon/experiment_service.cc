#include "daemon/experiment_service.h"

#include "base/time.h"
#include "daemon/id_page.h"
#include "daemon/resource_name.h"
#include "daemon/run_view.h"
#include "db/listing.h"

namespace finetuned {
namespace {

const google::protobuf::MethodDescriptor* Method(const char* name) {
  static const auto* service =
      v1::Experiment::descriptor()->file()->FindServiceByName("ExperimentService");
  return service->FindMethodByName(name);
}

v1::Experiment ToProto(const StoredExperiment& experiment) {
  v1::Experiment proto;
  proto.set_name(ExperimentName(experiment.workspace, experiment.uid));
  proto.set_path(experiment.path);
  *proto.mutable_create_time() = ToProtoTime(experiment.create_time);
  proto.set_run_count(experiment.run_count);
  proto.set_active_count(experiment.active_count);
  proto.set_paused_count(experiment.paused_count);
  proto.set_completed_count(experiment.completed_count);
  proto.set_failed_count(experiment.failed_count);
  proto.set_stopped_count(experiment.stopped_count);
  if (!experiment.latest_run.empty()) {
    proto.set_latest_run(RunName(experiment.workspace, experiment.latest_run));
  }
  if (experiment.latest_run_create_time) {
    *proto.mutable_latest_run_create_time() = ToProtoTime(*experiment.latest_run_create_time);
  }
  return proto;
}

absl::Status ListPage(const ServiceCore& core, const Identity& caller,
                      const v1::ListExperimentsRequest& request,
                      v1::ListExperimentsResponse* response) {
  const Viewer viewer = ViewerOf(caller);
  FT_ASSIGN_OR_RETURN(const IdPage page,
                      ReadIdPage(core, caller, "experiments", request.parent(), request.page_size(),
                                 request.page_token(), [&](int64_t before, int count) {
                                   return core.listing->ListExperiments(viewer, before, count);
                                 }));
  response->set_next_page_token(page.next_page_token);
  FT_ASSIGN_OR_RETURN(const std::vector<StoredExperiment> experiments,
                      core.listing->GetExperiments(viewer, page.ids));
  for (const StoredExperiment& experiment : experiments) {
    *response->add_experiments() = ToProto(experiment);
  }
  return absl::OkStatus();
}

absl::Status Get(const ServiceCore& core, const Identity& caller,
                 const v1::GetExperimentRequest& request, v1::Experiment* response) {
  const Viewer viewer = ViewerOf(caller);
  FT_ASSIGN_OR_RETURN(const std::string name, ParseExperimentName("name", request.name(), caller));
  FT_ASSIGN_OR_RETURN(const auto id, core.listing->FindExperiment(viewer, name));
  if (!id.has_value()) return ExperimentNotFound();
  FT_ASSIGN_OR_RETURN(const auto experiments, core.listing->GetExperiments(viewer, {*id}));
  if (experiments.empty()) return ExperimentNotFound();
  *response = ToProto(experiments[0]);
  return absl::OkStatus();
}

}  // namespace

grpc::ServerUnaryReactor* ExperimentService::ListExperiments(
    grpc::CallbackServerContext* context, const v1::ListExperimentsRequest* request,
    v1::ListExperimentsResponse* response) {
  return HandleUnary(core_.call, context, Method("ListExperiments"),
                     [=](const Identity& caller, const Done& done) {
                       done(ListPage(core_, caller, *request, response));
                     });
}

grpc::ServerUnaryReactor* ExperimentService::GetExperiment(grpc::CallbackServerContext* context,
                                                           const v1::GetExperimentRequest* request,
                                                           v1::Experiment* response) {
  return HandleUnary(core_.call, context, Method("GetExperiment"),
                     [=](const Identity& caller, const Done& done) {
                       done(Get(core_, caller, *request, response));
                     });
}

}  // namespace finetuned
