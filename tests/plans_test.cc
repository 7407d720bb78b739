// Every way to list is read from an index, whatever Postgres knows of the parameters: a page costs
// as much among very many runs as among few.

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "db/queries.h"
#include "tests/support/test_postgres.h"

namespace finetuned {
namespace {

// As many as a large installation keeps.
constexpr int kRuns = 1000000;

struct Row {
  const Query& query;
  // The arguments of EXECUTE.
  std::string arguments;
  // Whether it is planned anew each time, and never for any arguments.
  bool always_custom = false;
};

// A page in the middle of everything, with filters that keep about all.
std::string Page(const std::string& of, const std::string& newest, const std::string& more = "") {
  return absl::StrCat(of, ", '2026-03-01', 1000, 'infinity', '-infinity', ",
                      "'{COMPLETED}', '{\"team\": \"red\"}', 51, ", newest, more);
}

TEST(Plans, EveryListingUsesAnIndex) {
  const auto database = TestPostgres::Get().NewDatabase();
  TestPostgres::Query(
      database,
      absl::StrCat(
          "insert into owners (workspace_id, email) select 1, 'o' || s || '@x' "
          "from generate_series(1, 100) s;"
          "insert into shapes (gpus, gpu_type, cpus, memory_bytes) values (0, '', 1, 0);"
          "insert into experiments (workspace_id, path) select 1, '/e' || s "
          "from generate_series(1, 500) s;"
          "insert into runs (workspace_id, owner_id, shape_id, priority, queue_pos, uid, name, "
          "model, experiment_id, labels, state, end_time, create_time) "
          "select 1, 1 + s % 100, 1, 1, s, gen_random_uuid(), 'run-' || s, 'm', 1 + s % 500, "
          "jsonb_build_object('team', case when s % 2 = 0 then 'red' else 'blue' end, 'n', "
          "s::text), 'COMPLETED', clock_timestamp(), '2026-01-01'::timestamptz + s * interval "
          "'1 minute' from generate_series(1, ",
          kRuns,
          ") s;"
          "update runs set source_run_id = 1 + run_id % 1000 where run_id % 10 = 0;"
          "insert into run_events (run_id, seq, event_time, epoch, type, message, detail) "
          "select run_id, s, create_time, 1, 'OTHER', 'x', '' from runs, generate_series(1, 3) s "
          "where run_id <= 100000;"
          "insert into registered_models (workspace_id, owner_id, name, last_version) "
          "select 1, 1 + s % 100, 'a.b.m' || s, 3 from generate_series(1, 20000) s;"
          "insert into model_versions (model_id, version, run_id, checkpoint, size_bytes, "
          "manifest_sha256) select (run_id + 2) / 3, 1 + (run_id + 2) % 3, run_id, 'c', 0, '' "
          "from runs where run_id <= 60000;"
          "insert into create_requests (owner_id, request_id, request_hash, run_id, create_time) "
          "select owner_id, gen_random_uuid(), '', run_id, create_time from runs where run_id <= "
          "100000;"
          "update workspaces set log_retention = '1 day', metric_retention = '1 day';"
          "analyze"));
  std::vector<Row> rows;
  for (const char* newest : {"true", "false"}) {
    for (const char* owners : {"null", "'{1,2}'"}) {
      rows.push_back({kListRunsOfExperiment, Page("7", newest, absl::StrCat(", ", owners))});
      rows.push_back(
          {kListTheseRuns, Page("'{1,2,3}'", newest, absl::StrCat(", ", owners, ", null, null"))});
      rows.push_back({kListRunsOfSource, Page("7", newest, absl::StrCat(", ", owners, ", null"))});
    }
    rows.push_back({kListRunsOfOwners, Page("'{1,2,3}'", newest)});
    rows.push_back({kListRunsOfWorkspace, Page("1", newest)});
  }
  for (const char* sees : {"true", "false"}) {
    rows.push_back({kFindRuns, absl::StrCat("'{run-1,run-2}', 1, ", sees, ", 1")});
    rows.push_back({kGetExperiments, absl::StrCat("'{1,2}', ", sees, ", 1")});
    rows.push_back({kCancelableRuns, absl::StrCat("1, ", sees, ", 1, 100")});
    rows.push_back({kFindWeightsRun, absl::StrCat("1, 'run-7', ", sees, ", 1")});
    rows.push_back({kFindRegisteredModel, absl::StrCat("1, 'a.b.m7', ", sees, ", 1")});
  }
  rows.push_back({kRunsWithLabels, "1, '{\"n\": \"12\"}', 2000", true});
  rows.push_back({kGetRuns, "'{1,2,3}'"});
  rows.push_back({kListExperimentsOfOwner, "1, 1000, 51"});
  rows.push_back({kListRegisteredModelsOfWorkspace, "1, 1000000, 51"});
  rows.push_back({kListRegisteredModelsOfOwner, "1, 1000000, 51"});
  rows.push_back({kGetRegisteredModels, "'{1,2,3}'"});
  rows.push_back({kListModelVersions, "7, 100"});
  rows.push_back({kModelOwner, "1, 'a.b.m7'"});
  rows.push_back({kFindModelVersion, "7, 2"});
  rows.push_back({kListEvents, "1, 0, 100"});
  rows.push_back({kListEventsOf, "'{1,2,3}', '{0,1,2}', 100"});
  rows.push_back({kReadFeed, "0, 7, 1, 100, 1, null, '', '{}', '{}'"});
  rows.push_back({kReadFeed, "0, 7, 1, 100, null, null, '', '{}', '{}'"});
  rows.push_back({kFeedEnd, ""});
  rows.push_back({kWatchRuns, "'{1,2,3}'"});
  rows.push_back({kActiveRuns, "1"});
  for (const char* metrics : {"true", "false"}) {
    rows.push_back({kRunsPastRetention, absl::StrCat(metrics, ", 200")});
    rows.push_back({kRetentionOverdue, metrics});
  }
  rows.push_back({kPastRetention, "7, true"});
  rows.push_back({kTakenName, "1, 'run-5'"});
  rows.push_back({kDeleteOldCreateRequests, "86400, 10000"});
  for (const Row& row : rows) {
    for (const char* mode : {"force_custom_plan", "force_generic_plan"}) {
      if (row.always_custom && mode == std::string("force_generic_plan")) continue;
      const std::string plan = TestPostgres::Query(
          database,
          absl::StrCat("set plan_cache_mode = ", mode, "; prepare q as ", row.query.sql,
                       "; explain (format json) execute q",
                       row.arguments.empty() ? "" : absl::StrCat("(", row.arguments, ")")));
      ASSERT_NE(plan, "");
      for (size_t at = plan.find("\"Seq Scan\""); at != std::string::npos;
           at = plan.find("\"Seq Scan\"", at + 1)) {
        const std::string node = plan.substr(at, 300);
        // Of run_events the partition that has them.
        for (const char* large : {"runs\"", "run_events_0\"", "registered_models", "model_versions",
                                  "create_requests"}) {
          EXPECT_EQ(node.find(absl::StrCat("\"Relation Name\": \"", large)), std::string::npos)
              << row.query.name << " (" << row.arguments << "), " << mode << ":\n"
              << plan;
        }
      }
    }
  }
}

}  // namespace
}  // namespace finetuned
