#include "db/listing.h"

#include <algorithm>
#include <limits>

#include <nlohmann/json.hpp>

#include "base/status.h"
#include "base/time.h"
#include "db/array.h"
#include "db/queries.h"
#include "db/row.h"

namespace finetuned {
namespace {

// Labels that fewer runs have are looked up first and sorted then; of labels that more have, a page
// is found soon by reading in order.
constexpr int kRareLabels = 2000;

std::string TimeText(absl::Time time) {
  if (time == absl::InfiniteFuture()) return "infinity";
  if (time == absl::InfinitePast()) return "-infinity";
  return FormatRfc3339(time);
}

std::vector<int64_t> IdsOf(const pqxx::result& rows) {
  std::vector<int64_t> ids;
  for (const auto& row : rows) ids.push_back(row[0].as<int64_t>());
  return ids;
}

std::optional<int64_t> ExperimentId(pqxx::transaction_base& tx, const Viewer& viewer,
                                    const std::string& name) {
  const auto rows = tx.exec_prepared(kFindExperiment.name, viewer.workspace_id, name);
  if (rows.empty()) return std::nullopt;
  return rows[0][0].as<int64_t>();
}

// Whose runs are listed; nothing for everybody's.
std::optional<std::vector<int64_t>> OwnersOf(pqxx::transaction_base& tx, const Viewer& viewer,
                                             const RunFilter& filter) {
  if (filter.user_emails.empty()) {
    if (viewer.sees_workspace) return std::nullopt;
    return std::vector<int64_t>{viewer.owner_id};
  }
  std::vector<int64_t> owners =
      IdsOf(tx.exec_prepared(kFindOwners.name, viewer.workspace_id, ArrayOf(filter.user_emails)));
  if (!viewer.sees_workspace) {
    const bool own = std::count(owners.begin(), owners.end(), viewer.owner_id) > 0;
    owners = own ? std::vector<int64_t>{viewer.owner_id} : std::vector<int64_t>{};
  }
  return owners;
}

// The runs a listing is about, where they are few and known: by name, or by labels that are rare.
std::optional<std::vector<int64_t>> KnownRuns(pqxx::transaction_base& tx, const Viewer& viewer,
                                              const RunFilter& filter, const std::string& labels) {
  if (!filter.names.empty()) {
    std::vector<int64_t> ids;
    for (const auto& row :
         tx.exec_prepared(kFindRuns.name, ArrayOf(filter.names), viewer.workspace_id,
                          viewer.sees_workspace, viewer.owner_id)) {
      ids.push_back(row["run_id"].as<int64_t>());
    }
    return ids;
  }
  if (filter.labels.empty()) return std::nullopt;
  // Planned for these labels: a plan for any would read the whole table in hope of the limit.
  std::vector<int64_t> ids =
      IdsOf(tx.exec_params(kRunsWithLabels.sql, viewer.workspace_id, labels, kRareLabels));
  if (ids.size() >= size_t{kRareLabels}) return std::nullopt;
  return ids;
}

std::optional<std::string> ArrayOrNull(const std::optional<std::vector<int64_t>>& ids) {
  if (!ids.has_value()) return std::nullopt;
  return ArrayOf(*ids);
}

}  // namespace

absl::StatusOr<std::vector<RunPageKey>> Listing::ListRuns(const Viewer& viewer,
                                                          const RunFilter& filter,
                                                          const std::optional<RunPageKey>& after,
                                                          int limit) {
  const std::string at_time = after.has_value() ? TimeText(after->create_time)
                                                : (filter.newest_first ? "infinity" : "-infinity");
  const int64_t at_id = after.has_value() ? after->run_id : 0;
  ArrayText states;
  for (const RunState state : filter.states) states.Add(Name(state));
  const std::string labels = nlohmann::json(filter.labels).dump();
  std::vector<RunPageKey> keys;
  FT_RETURN_IF_ERROR(pool_.Read("list_runs", [&](pqxx::transaction_base& tx) {
    keys.clear();
    // What every listing takes, between what it is about and what only some take.
    const auto page = [&](const Query& query, const auto& of, const auto&... more) {
      return tx.exec_prepared(query.name, of, at_time, at_id, TimeText(filter.before),
                              TimeText(filter.after), states.str(), labels, limit,
                              filter.newest_first, more...);
    };
    const auto owners = OwnersOf(tx, viewer, filter);
    if (owners.has_value() && owners->empty()) return absl::OkStatus();
    std::optional<int64_t> experiment;
    if (!filter.experiment.empty()) {
      experiment = ExperimentId(tx, viewer, filter.experiment);
      if (!experiment.has_value()) return absl::OkStatus();
    }
    std::optional<int64_t> source;
    if (!filter.source_run.empty()) {
      const auto found =
          tx.exec_prepared(kFindRuns.name, ArrayOf(std::vector<std::string>{filter.source_run}),
                           viewer.workspace_id, viewer.sees_workspace, viewer.owner_id);
      if (found.empty()) return absl::OkStatus();
      source = found[0]["run_id"].as<int64_t>();
    }
    pqxx::result rows;
    if (const auto known = KnownRuns(tx, viewer, filter, labels); known.has_value()) {
      rows = page(kListTheseRuns, ArrayOf(*known), ArrayOrNull(owners), experiment, source);
    } else if (source.has_value()) {
      rows = page(kListRunsOfSource, *source, ArrayOrNull(owners), experiment);
    } else if (experiment.has_value()) {
      rows = page(kListRunsOfExperiment, *experiment, ArrayOrNull(owners));
    } else if (owners.has_value()) {
      rows = page(kListRunsOfOwners, ArrayOf(*owners));
    } else {
      rows = page(kListRunsOfWorkspace, viewer.workspace_id);
    }
    for (const auto& row : rows) {
      keys.push_back({TimeOf(row["create_time"]), row["run_id"].as<int64_t>()});
    }
    return absl::OkStatus();
  }));
  return keys;
}

absl::StatusOr<std::optional<int64_t>> Listing::FindExperiment(const Viewer& viewer,
                                                               const std::string& name) {
  std::optional<int64_t> id;
  FT_RETURN_IF_ERROR(pool_.Read("find_experiment", [&](pqxx::transaction_base& tx) {
    id = ExperimentId(tx, viewer, name);
    return absl::OkStatus();
  }));
  if (!id.has_value() || viewer.sees_workspace) return id;
  FT_ASSIGN_OR_RETURN(const auto seen, GetExperiments(viewer, {*id}));
  if (seen.empty() || seen[0].run_count == 0) return std::optional<int64_t>();
  return id;
}

absl::StatusOr<std::vector<int64_t>> Listing::ListExperiments(const Viewer& viewer, int64_t before,
                                                              int limit) {
  if (before == 0) before = std::numeric_limits<int64_t>::max();
  std::vector<int64_t> ids;
  FT_RETURN_IF_ERROR(pool_.Read("list_experiments", [&](pqxx::transaction_base& tx) {
    ids =
        viewer.sees_workspace
            ? IdsOf(tx.exec_prepared(kListExperimentsOfWorkspace.name, viewer.workspace_id, before,
                                     limit))
            : IdsOf(tx.exec_prepared(kListExperimentsOfOwner.name, viewer.owner_id, before, limit));
    return absl::OkStatus();
  }));
  return ids;
}

absl::StatusOr<std::vector<StoredExperiment>> Listing::GetExperiments(
    const Viewer& viewer, const std::vector<int64_t>& ids) {
  std::vector<StoredExperiment> experiments;
  if (ids.empty()) return experiments;
  FT_RETURN_IF_ERROR(pool_.Read("get_experiments", [&](pqxx::transaction_base& tx) {
    experiments.clear();
    for (const auto& row : tx.exec_prepared(kGetExperiments.name, ArrayOf(ids),
                                            viewer.sees_workspace, viewer.owner_id)) {
      StoredExperiment experiment;
      experiment.experiment_id = row["experiment_id"].as<int64_t>();
      experiment.workspace = row["workspace"].c_str();
      experiment.path = row["path"].c_str();
      experiment.uid = row["uid"].c_str();
      experiment.create_time = TimeOf(row["create_time"]);
      experiment.run_count = row["run_count"].as<int64_t>();
      experiment.active_count = row["active_count"].as<int64_t>();
      experiment.paused_count = row["paused_count"].as<int64_t>();
      experiment.completed_count = row["completed_count"].as<int64_t>();
      experiment.failed_count = row["failed_count"].as<int64_t>();
      experiment.stopped_count = row["stopped_count"].as<int64_t>();
      experiment.latest_run = TextOf(row["latest_run"]);
      experiment.latest_run_create_time = OptionalTimeOf(row["latest_run_create_time"]);
      experiments.push_back(std::move(experiment));
    }
    return absl::OkStatus();
  }));
  return experiments;
}

absl::StatusOr<std::vector<int64_t>> Listing::CancelableRuns(const Viewer& viewer,
                                                             int64_t experiment_id, int limit) {
  std::vector<int64_t> ids;
  FT_RETURN_IF_ERROR(pool_.Read("cancelable_runs", [&](pqxx::transaction_base& tx) {
    ids = IdsOf(tx.exec_prepared(kCancelableRuns.name, experiment_id, viewer.sees_workspace,
                                 viewer.owner_id, limit));
    return absl::OkStatus();
  }));
  return ids;
}

}  // namespace finetuned
