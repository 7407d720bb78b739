#pragma once

#include <functional>
#include <memory>
#include <string>

#include <grpcpp/grpcpp.h>

#include "absl/status/status.h"
#include "base/grpc_status.h"
#include "base/status.h"
#include "daemon/authenticator.h"
#include "daemon/executor.h"
#include "daemon/metrics.h"
#include "daemon/permissions.h"

// What every call has in common: who calls, whether it may, on which thread its work is done, and
// that it is answered exactly once and counted.

namespace finetuned {

struct CallContext {
  Authenticator* authenticator;
  Executor* executor;
  Metrics* metrics;
  const Clock* clock;
};

// The value of the only `authorization` header; empty with none or several.
inline std::string AuthorizationOf(const grpc::CallbackServerContext& context) {
  const auto range = context.client_metadata().equal_range("authorization");
  if (range.first == range.second || std::next(range.first) != range.second) return "";
  return std::string(range.first->second.data(), range.first->second.size());
}

// Authenticates and authorizes; blocks on Postgres at most. Errors: UNAUTHENTICATED,
// PERMISSION_DENIED.
inline absl::StatusOr<Identity> Authorize(const CallContext& call, const std::string& authorization,
                                          const google::protobuf::MethodDescriptor* method) {
  FT_ASSIGN_OR_RETURN(Identity identity, call.authenticator->Authenticate(authorization));
  const std::string permission = PermissionOf(method);
  if (!RoleAllows(identity.role, permission)) {
    return MakeError(absl::StatusCode::kPermissionDenied, "PERMISSION_MISSING",
                     "the role " + identity.role + " does not have the permission " + permission,
                     {{"role", identity.role}, {"permission", permission}});
  }
  return identity;
}

// Answers a unary call; to be called exactly once, from any thread.
using Done = std::function<void(const absl::Status&)>;

// Runs `body` on the executor for an authorized caller. The request, the response and the context
// live until `done`.
inline grpc::ServerUnaryReactor* HandleUnary(const CallContext& call,
                                             grpc::CallbackServerContext* context,
                                             const google::protobuf::MethodDescriptor* method,
                                             std::function<void(const Identity&, Done)> body) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const absl::Duration start = call.clock->SinceBoot();
  const Done done = [call, method, start, reactor](const absl::Status& status) {
    call.metrics->RpcEnded(method->name(), status.code(), call.clock->SinceBoot() - start);
    reactor->Finish(ToGrpc(status));
  };
  const bool accepted =
      call.executor->Submit([call, context, method, done, body = std::move(body)] {
        auto identity = Authorize(call, AuthorizationOf(*context), method);
        if (!identity.ok()) {
          done(identity.status());
        } else {
          body(*identity, done);
        }
      });
  if (!accepted) {
    done(UnavailableError("OVERLOADED", "the daemon is stopping or has too many calls waiting",
                          absl::Seconds(1)));
  }
  return reactor;
}

}  // namespace finetuned
