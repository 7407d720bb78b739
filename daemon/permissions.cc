#include "daemon/permissions.h"

#include <map>
#include <set>

#include "absl/strings/str_join.h"
#include "finetuned/v1/annotations.pb.h"

namespace finetuned {
namespace {

const std::map<std::string, std::set<std::string>>& RolePermissions() {
  static const auto* permissions = new std::map<std::string, std::set<std::string>>{
      {"reader",
       {"runs.read", "quota.read", "workers.read", "models.read", "artifacts.read",
        "workspaces.read"}},
      {"user",
       {"runs.read", "quota.read", "workers.read", "models.read", "artifacts.read",
        "workspaces.read", "runs.create", "runs.update", "runs.pause", "runs.cancel",
        "runs.delete"}},
      {"admin",
       {"runs.read", "quota.read", "workers.read", "models.read", "artifacts.read",
        "workspaces.read", "runs.create", "runs.update", "runs.pause", "runs.cancel", "runs.delete",
        "runs.prioritize", "workspaces.update", "workers.drain"}},
      {"worker", {"workers.session"}},
  };
  return *permissions;
}

}  // namespace

bool RoleAllows(const std::string& role, const std::string& permission) {
  const auto found = RolePermissions().find(role);
  return found != RolePermissions().end() && found->second.count(permission) != 0;
}

std::string PermissionOf(const google::protobuf::MethodDescriptor* method) {
  return method->options().GetExtension(v1::permission);
}

absl::Status CheckPermissions(
    const std::vector<const google::protobuf::ServiceDescriptor*>& services) {
  std::vector<std::string> missing;
  for (const auto* service : services) {
    for (int i = 0; i < service->method_count(); ++i) {
      const std::string permission = PermissionOf(service->method(i));
      bool held = false;
      for (const auto& [role, permissions] : RolePermissions()) {
        held = held || permissions.count(permission) != 0;
      }
      if (!held) missing.push_back(service->method(i)->full_name());
    }
  }
  if (missing.empty()) return absl::OkStatus();
  return absl::FailedPreconditionError("methods without a permission that a role holds: " +
                                       absl::StrJoin(missing, ", "));
}

}  // namespace finetuned
