#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "daemon/catalogue.h"
#include "daemon/checker.h"
#include "db/identity.h"
#include "finetuned/config/v1/config.pb.h"
#include "finetuned/v1/run_service.pb.h"

// What a CreateRun must be. Pure but for the catalogue's content: no file of a user is opened here;
// the worker looks at the data.

namespace finetuned {

struct RunPolicy {
  const Catalogue* catalogue = nullptr;
  // Absolute and normal.
  std::vector<std::string> data_roots;
  std::string artifact_root;
  v1::Compute default_compute;
  // What runs may name beside the catalogue and the data roots.
  config::v1::DaemonHub hub;
};

// A request whose every field is valid and every default resolved.
struct ValidRun {
  std::string name;
  // Empty when the caller gave none.
  std::string request_id;
  v1::RunSpec spec;
  std::map<std::string, std::string> labels;
  // The run whose weights it starts from, found after validation; 0 and empty for none.
  int64_t source_run_id = 0;
  std::string source_run;
};

// `generated_name` is used when the caller gives none. Errors, in this order: INVALID_ARGUMENT with
// every violation; NOT_FOUND for a parent that is not the caller's; PERMISSION_DENIED for a path
// outside the roots or a priority the caller may not use; FAILED_PRECONDITION `MODEL_NOT_ALLOWED`
// or `NO_SUCH_CAPACITY`.
absl::StatusOr<ValidRun> ValidateCreateRun(const v1::CreateRunRequest& request,
                                           const Identity& caller, const RunPolicy& policy,
                                           const std::string& generated_name);

// What a create and an update check alike. Scheduling gets its defaults.
void CheckScheduling(v1::Scheduling* scheduling, Checker* check);
void CheckLabels(const google::protobuf::Map<std::string, std::string>& labels,
                 const std::string& field, Checker* check);
// PERMISSION_DENIED for a priority that the caller may not use.
absl::Status CheckPriorityRight(v1::Scheduling::Priority priority, const Identity& caller);

}  // namespace finetuned
