#include "base/grpc_log.h"

#include <grpc/support/log.h>

#include "base/logging.h"

namespace finetuned {
namespace {

void Write(gpr_log_func_args* args) {
  if (args->severity == GPR_LOG_SEVERITY_DEBUG) return;
  Log(args->severity == GPR_LOG_SEVERITY_ERROR ? LogLevel::kWarning : LogLevel::kInfo, "grpc",
      {{"error", args->message}, {"source", args->file}, {"line", args->line}});
}

}  // namespace

void RouteGrpcLog() { gpr_set_log_function(&Write); }

}  // namespace finetuned
