#include "db/registry.h"

#include <limits>

#include "base/status.h"
#include "db/array.h"
#include "db/queries.h"
#include "db/row.h"

namespace finetuned {
namespace {

std::optional<int64_t> FirstId(const pqxx::result& rows) {
  if (rows.empty()) return std::nullopt;
  return rows[0][0].as<int64_t>();
}

}  // namespace

absl::StatusOr<std::optional<int64_t>> Registry::OwnerOf(int64_t workspace_id,
                                                         const std::string& name) {
  std::optional<int64_t> owner;
  FT_RETURN_IF_ERROR(pool_.Read("model_owner", [&](pqxx::transaction_base& tx) {
    owner = FirstId(tx.exec_prepared(kModelOwner.name, workspace_id, name));
    return absl::OkStatus();
  }));
  return owner;
}

absl::StatusOr<std::optional<int64_t>> Registry::Find(const Viewer& viewer,
                                                      const std::string& name) {
  std::optional<int64_t> id;
  FT_RETURN_IF_ERROR(pool_.Read("find_registered_model", [&](pqxx::transaction_base& tx) {
    id = FirstId(tx.exec_prepared(kFindRegisteredModel.name, viewer.workspace_id, name,
                                  viewer.sees_workspace, viewer.owner_id));
    return absl::OkStatus();
  }));
  return id;
}

absl::StatusOr<std::vector<int64_t>> Registry::List(const Viewer& viewer, int64_t before,
                                                    int limit) {
  if (before == 0) before = std::numeric_limits<int64_t>::max();
  std::vector<int64_t> ids;
  FT_RETURN_IF_ERROR(pool_.Read("list_registered_models", [&](pqxx::transaction_base& tx) {
    ids.clear();
    const auto rows =
        viewer.sees_workspace
            ? tx.exec_prepared(kListRegisteredModelsOfWorkspace.name, viewer.workspace_id, before,
                               limit)
            : tx.exec_prepared(kListRegisteredModelsOfOwner.name, viewer.owner_id, before, limit);
    for (const auto& row : rows) ids.push_back(row[0].as<int64_t>());
    return absl::OkStatus();
  }));
  return ids;
}

absl::StatusOr<std::vector<StoredModel>> Registry::Get(const std::vector<int64_t>& ids) {
  std::vector<StoredModel> models;
  if (ids.empty()) return models;
  FT_RETURN_IF_ERROR(pool_.Read("get_registered_models", [&](pqxx::transaction_base& tx) {
    models.clear();
    for (const auto& row : tx.exec_prepared(kGetRegisteredModels.name, ArrayOf(ids))) {
      StoredModel model;
      model.model_id = row["model_id"].as<int64_t>();
      model.workspace = row["workspace"].c_str();
      model.owner_email = row["email"].c_str();
      model.name = row["name"].c_str();
      model.last_version = row["last_version"].as<int>();
      model.create_time = TimeOf(row["create_time"]);
      models.push_back(std::move(model));
    }
    return absl::OkStatus();
  }));
  return models;
}

absl::StatusOr<std::optional<std::string>> Registry::RunOfVersion(int64_t model_id, int version) {
  std::optional<std::string> run;
  FT_RETURN_IF_ERROR(pool_.Read("find_model_version", [&](pqxx::transaction_base& tx) {
    run.reset();
    const auto rows = tx.exec_prepared(kFindModelVersion.name, model_id, version);
    if (!rows.empty()) run = rows[0][0].c_str();
    return absl::OkStatus();
  }));
  return run;
}

absl::StatusOr<std::vector<StoredVersion>> Registry::Versions(int64_t model_id, int limit) {
  std::vector<StoredVersion> versions;
  FT_RETURN_IF_ERROR(pool_.Read("list_model_versions", [&](pqxx::transaction_base& tx) {
    versions.clear();
    for (const auto& row : tx.exec_prepared(kListModelVersions.name, model_id, limit)) {
      StoredVersion version;
      version.version = row["version"].as<int>();
      version.run = row["run"].c_str();
      version.base_model = row["base_model"].c_str();
      version.checkpoint = row["checkpoint"].c_str();
      version.size_bytes = row["size_bytes"].as<int64_t>();
      version.manifest_sha256 = row["manifest_sha256"].c_str();
      version.create_time = TimeOf(row["create_time"]);
      versions.push_back(std::move(version));
    }
    return absl::OkStatus();
  }));
  return versions;
}

}  // namespace finetuned
