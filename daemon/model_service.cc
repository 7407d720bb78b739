#include "daemon/model_service.h"

#include "daemon/catalogue.h"

namespace finetuned {

grpc::ServerUnaryReactor* ModelService::ListModels(grpc::CallbackServerContext* context,
                                                   const v1::ListModelsRequest*,
                                                   v1::ListModelsResponse* response) {
  const auto* method = v1::Model::descriptor()
                           ->file()
                           ->FindServiceByName("ModelService")
                           ->FindMethodByName("ListModels");
  return HandleUnary(core_.call, context, method, [=](const Identity&, const Done& done) {
    for (const auto& [name, entry] : core_.run_policy.catalogue->models()) {
      v1::Model* model = response->add_models();
      model->set_name(name);
      model->set_description(entry.description);
      model->set_context_length(entry.context_length);
      model->set_parameter_count(entry.parameter_count);
      model->set_pretrained(entry.pretrained);
      model->set_architecture(entry.architecture);
    }
    done(absl::OkStatus());
  });
}

}  // namespace finetuned
