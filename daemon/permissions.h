#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "google/protobuf/descriptor.h"

// Which role may do what. The permission of a method stands beside it in the proto.

namespace finetuned {

// Whether a role holds a permission. Unknown roles and permissions: no.
bool RoleAllows(const std::string& role, const std::string& permission);

// The permission of `/package.Service/Method`; empty when there is none.
std::string PermissionOf(const google::protobuf::MethodDescriptor* method);

// FAILED_PRECONDITION naming every method that has no permission, or one that no role holds: the
// daemon then refuses to start.
absl::Status CheckPermissions(
    const std::vector<const google::protobuf::ServiceDescriptor*>& services);

}  // namespace finetuned
