#include "base/grpc_log.h"

#include <atomic>

#include <grpc/support/log.h>

#include "absl/strings/match.h"
#include "base/logging.h"

namespace finetuned {
namespace {

std::atomic<void (*)()> on_deaf_callback{nullptr};

void Write(gpr_log_func_args* args) {
  if (args->severity == GPR_LOG_SEVERITY_DEBUG) return;
  Log(args->severity == GPR_LOG_SEVERITY_ERROR ? LogLevel::kWarning : LogLevel::kInfo, "grpc",
      {{"error", args->message}, {"source", args->file}, {"line", args->line}});
  if (absl::StartsWith(args->message, "Failed accept4")) {
    if (void (*const on_deaf)() = on_deaf_callback) on_deaf();
  }
}

}  // namespace

void RouteGrpcLog(void (*on_deaf)()) {
  on_deaf_callback = on_deaf;
  gpr_set_log_function(&Write);
}

}  // namespace finetuned
