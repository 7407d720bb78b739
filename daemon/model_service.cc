#include "daemon/model_service.h"

#include <algorithm>

#include "base/time.h"
#include "daemon/catalogue.h"
#include "daemon/id_page.h"
#include "daemon/resource_name.h"
#include "daemon/run_view.h"
#include "db/registry.h"

namespace finetuned {
namespace {

// Versions of a model that one answer has.
constexpr int kMaxVersions = 100;

const google::protobuf::MethodDescriptor* Method(const char* name) {
  static const auto* service = v1::Model::descriptor()->file()->FindServiceByName("ModelService");
  return service->FindMethodByName(name);
}

v1::RegisteredModel ToProto(const StoredModel& model) {
  v1::RegisteredModel proto;
  proto.set_name(RegisteredModelName(model.workspace, model.name));
  proto.set_owner(model.owner_email);
  *proto.mutable_create_time() = ToProtoTime(model.create_time);
  proto.set_latest_version(model.last_version);
  return proto;
}

v1::ModelVersion ToProto(const StoredModel& model, const StoredVersion& version) {
  v1::ModelVersion proto;
  proto.set_version(version.version);
  proto.set_run(RunName(model.workspace, version.run));
  proto.set_base_model(version.base_model);
  proto.set_checkpoint(version.checkpoint);
  proto.set_path(RegisterPath(model.workspace, model.name, version.run));
  proto.set_size_bytes(version.size_bytes);
  proto.set_manifest_sha256(version.manifest_sha256);
  *proto.mutable_create_time() = ToProtoTime(version.create_time);
  return proto;
}

absl::Status ListPage(const ServiceCore& core, const Identity& caller,
                      const v1::ListRegisteredModelsRequest& request,
                      v1::ListRegisteredModelsResponse* response) {
  FT_ASSIGN_OR_RETURN(
      const IdPage page,
      ReadIdPage(core, caller, "registeredModels", request.parent(), request.page_size(),
                 request.page_token(), [&](int64_t before, int count) {
                   return core.registry->List(ViewerOf(caller), before, count);
                 }));
  response->set_next_page_token(page.next_page_token);
  FT_ASSIGN_OR_RETURN(const std::vector<StoredModel> models, core.registry->Get(page.ids));
  for (const StoredModel& model : models) *response->add_models() = ToProto(model);
  return absl::OkStatus();
}

absl::Status Get(const ServiceCore& core, const Identity& caller,
                 const v1::GetRegisteredModelRequest& request, v1::RegisteredModel* response) {
  FT_ASSIGN_OR_RETURN(const std::string name, ParseRegisteredModelName(request.name(), caller));
  FT_ASSIGN_OR_RETURN(const auto id, core.registry->Find(ViewerOf(caller), name));
  if (!id.has_value()) return RegisteredModelNotFound(name);
  FT_ASSIGN_OR_RETURN(const auto models, core.registry->Get({*id}));
  if (models.empty()) return RegisteredModelNotFound(name);
  FT_ASSIGN_OR_RETURN(const auto versions, core.registry->Versions(*id, kMaxVersions));
  *response = ToProto(models[0]);
  for (const StoredVersion& version : versions) {
    *response->add_versions() = ToProto(models[0], version);
  }
  return absl::OkStatus();
}

}  // namespace

grpc::ServerUnaryReactor* ModelService::ListModels(grpc::CallbackServerContext* context,
                                                   const v1::ListModelsRequest*,
                                                   v1::ListModelsResponse* response) {
  return HandleUnary(
      core_.call, context, Method("ListModels"), [=](const Identity&, const Done& done) {
        for (const auto& [name, entry] : core_.run_policy.catalogue->models()) {
          v1::Model* model = response->add_models();
          model->set_name(name);
          model->set_description(entry.description);
          model->set_context_length(entry.context_length);
          model->set_parameter_count(entry.parameter_count);
          model->set_pretrained(entry.pretrained);
          model->set_architecture(entry.architecture);
        }
        // Those that the configuration names; of `{organization}/*` nobody knows all.
        for (const std::string& name : core_.run_policy.hub.models()) {
          if (name.back() == '*' || core_.run_policy.catalogue->Find(name)) continue;
          v1::Model* model = response->add_models();
          model->set_name(name);
          model->set_description("Fetched from the hub by the worker that trains it.");
          model->set_pretrained(true);
        }
        std::sort(response->mutable_models()->begin(), response->mutable_models()->end(),
                  [](const auto& a, const auto& b) { return a.name() < b.name(); });
        done(absl::OkStatus());
      });
}

grpc::ServerUnaryReactor* ModelService::ListRegisteredModels(
    grpc::CallbackServerContext* context, const v1::ListRegisteredModelsRequest* request,
    v1::ListRegisteredModelsResponse* response) {
  return HandleUnary(core_.call, context, Method("ListRegisteredModels"),
                     [=](const Identity& caller, const Done& done) {
                       done(ListPage(core_, caller, *request, response));
                     });
}

grpc::ServerUnaryReactor* ModelService::GetRegisteredModel(
    grpc::CallbackServerContext* context, const v1::GetRegisteredModelRequest* request,
    v1::RegisteredModel* response) {
  return HandleUnary(core_.call, context, Method("GetRegisteredModel"),
                     [=](const Identity& caller, const Done& done) {
                       done(Get(core_, caller, *request, response));
                     });
}

}  // namespace finetuned
