#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "db/pool.h"
#include "db/reads.h"

// Registered models: the names that completed runs register their final weights under. They come
// into being in admission (db/admission.h) and get their versions when runs complete
// (db/transitions.h); here they are read.

namespace finetuned {

struct StoredModel {
  int64_t model_id = 0;
  std::string workspace;
  std::string owner_email;
  std::string name;
  int last_version = 0;
  absl::Time create_time;
};

struct StoredVersion {
  int version = 0;
  // Name of the run.
  std::string run;
  std::string base_model;
  std::string checkpoint;
  int64_t size_bytes = 0;
  std::string manifest_sha256;
  absl::Time create_time;
};

class Registry {
 public:
  explicit Registry(Pool* pool) : pool_(*pool) {}

  // Whose the name is, also before anything is registered; nothing when it is free.
  absl::StatusOr<std::optional<int64_t>> OwnerOf(int64_t workspace_id, const std::string& name);

  // Models that have a version and that the viewer sees.
  absl::StatusOr<std::optional<int64_t>> Find(const Viewer& viewer, const std::string& name);
  // Newest first; those older than `before`, which is 0 for the first page.
  absl::StatusOr<std::vector<int64_t>> List(const Viewer& viewer, int64_t before, int limit);

  // In the order of the ids.
  absl::StatusOr<std::vector<StoredModel>> Get(const std::vector<int64_t>& ids);
  // Name of the run that has registered a version; nothing without such a version.
  absl::StatusOr<std::optional<std::string>> RunOfVersion(int64_t model_id, int version);
  // Newest first.
  absl::StatusOr<std::vector<StoredVersion>> Versions(int64_t model_id, int limit);

 private:
  Pool& pool_;
};

}  // namespace finetuned
