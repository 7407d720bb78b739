// The schema: its golden picture, its rights, and that it says the same as the code and the protos.

#include <stdlib.h>

#include <memory>
#include <set>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/file.h"
#include "base/status.h"
#include "daemon/child.h"
#include "db/identity.h"
#include "db/migrator.h"
#include "db/pool.h"
#include "finetuned/v1/event.pb.h"
#include "finetuned/v1/run.pb.h"
#include "queue/event.h"
#include "queue/retry_policy.h"
#include "queue/run_state.h"
#include "queue/wait.h"
#include "tests/support/test_postgres.h"

namespace finetuned {
namespace {

std::string Query(const TestPostgres::Database& database, const std::string& sql) {
  return TestPostgres::Query(database, sql);
}

template <typename Names>
std::string Joined(const Names& names) {
  return absl::StrJoin(names, " ");
}

TEST(Schema, IsAsItsGoldenPicture) {
  const auto database = TestPostgres::Get().NewDatabase();
  const std::string dump = ::testing::TempDir() + "/schema_test.sql";
  ChildSpec spec;
  spec.argv = {
      "sh", "-c",
      absl::StrCat("PATH=/usr/lib/postgresql/15/bin:/opt/finetuned/postgresql/usr/lib/postgresql/"
                   "15/bin:$PATH pg_dump --schema-only --no-owner "
                   "--no-privileges --dbname='",
                   database.admin_url,
                   "' | grep -vE '^(--|SET |SELECT pg_catalog|.(un)?restrict)' | cat -s > ", dump)};
  ASSERT_TRUE(RunChild(spec).ok());
  const std::string golden = std::string(FINETUNED_SOURCE_DIR) + "/db/schema.sql";
  const std::string made =
      "-- Made by `make schema` from db/migrations; do not edit.\n" + *ReadFile(dump);
  if (getenv("UPDATE_GOLDEN") != nullptr) {
    ASSERT_TRUE(WriteFileAtomically(golden, made).ok());
  }
  EXPECT_EQ(*ReadFile(golden), made)
      << "db/schema.sql is not what the migrations make: run `make schema`";
}

TEST(Schema, TwentyMigratorsAtOnceMakeItOnce) {
  const auto database = TestPostgres::Get().NewDatabase(/*empty=*/true);
  std::atomic<int> made{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 20; ++i) {
    threads.emplace_back([&] {
      const auto steps = Migrate(database.admin_url);
      EXPECT_TRUE(steps.ok()) << steps.status();
      if (steps.ok()) made += *steps;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(made, NewestSchemaVersion());
  EXPECT_TRUE(CheckSchema(*ReadSchemaState(database.daemon_url)).ok());
}

TEST(Schema, DaemonsThatMakePartitionsAtOnceDoNotFail) {
  const auto database = TestPostgres::Get().NewDatabase();
  Pool::Options options;
  options.database_url = database.daemon_url;
  std::vector<std::unique_ptr<Pool>> daemons;
  for (int i = 0; i < 8; ++i) daemons.push_back(std::make_unique<Pool>(options));
  for (int round = 0; round < 10; ++round) {
    // The next partitions are missing, and all see that at once.
    TestPostgres::Query(database,
                        absl::StrCat("select setval('runs_run_id_seq', ", 1 + round, "000000)"));
    std::vector<std::thread> threads;
    for (const auto& daemon : daemons) {
      threads.emplace_back([&daemon] {
        const absl::Status made = IdentityStore(daemon.get()).EnsureEventPartitions();
        EXPECT_TRUE(made.ok()) << made;
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
}

TEST(Schema, ANewerBreakingOneIsRefusedAndACompatibleOneIsNot) {
  const auto database = TestPostgres::Get().NewDatabase();
  Query(database, "insert into schema_migrations values (1000, 'later', false)");
  EXPECT_TRUE(CheckSchema(*ReadSchemaState(database.daemon_url)).ok());
  Query(database, "insert into schema_migrations values (1001, 'much_later', true)");
  const absl::Status status = CheckSchema(*ReadSchemaState(database.daemon_url));
  EXPECT_EQ(ErrorReason(status), "SCHEMA_NEWER");
  EXPECT_EQ(ErrorReason(Migrate(database.admin_url).status()), "SCHEMA_NEWER");
}

TEST(Schema, AnEmptyDatabaseIsToldToMigrate) {
  const auto database = TestPostgres::Get().NewDatabase(/*empty=*/true);
  const absl::Status status = CheckSchema(*ReadSchemaState(database.daemon_url));
  EXPECT_EQ(ErrorReason(status), "SCHEMA_OLDER");
  EXPECT_NE(status.ToString().find("finetuned migrate"), std::string::npos);
}

TEST(Schema, StatesEventsAndStopsHaveTheSameNamesInTheProtoInTheCodeAndInPostgres) {
  const auto database = TestPostgres::Get().NewDatabase();
  const auto labels = [&](const std::string& type) {
    return Query(database,
                 "select string_agg(enumlabel, ' ' order by enumsortorder) from pg_enum where "
                 "enumtypid = '" +
                     type + "'::regtype");
  };
  const auto proto = [](const google::protobuf::EnumDescriptor* descriptor) {
    std::vector<std::string> names;
    for (int i = 1; i < descriptor->value_count(); ++i) {  // Without UNSPECIFIED.
      EXPECT_EQ(descriptor->value(i)->number(), i);
      names.push_back(descriptor->value(i)->name());
    }
    return Joined(names);
  };
  std::vector<std::string> states, events;
  for (const RunState state : kAllRunStates) {
    EXPECT_EQ(v1::Run::State_Name(static_cast<v1::Run::State>(state)), Name(state));
    states.push_back(Name(state));
  }
  for (const EventType type : kAllEventTypes) {
    EXPECT_EQ(v1::RunEvent::Type_Name(static_cast<v1::RunEvent::Type>(type)), Name(type));
    events.push_back(Name(type));
  }
  EXPECT_EQ(labels("run_state"), Joined(states));
  EXPECT_EQ(proto(v1::Run::State_descriptor()), Joined(states));
  EXPECT_EQ(labels("event_type"), Joined(events));
  EXPECT_EQ(proto(v1::RunEvent::Type_descriptor()), Joined(events));
  EXPECT_EQ(labels("stop_kind"), "CANCEL PAUSE PREEMPT DEADLINE");
  EXPECT_EQ(proto(v1::StopKind_descriptor()), "CANCEL PAUSE PREEMPT DEADLINE");
  for (const StopKind kind :
       {StopKind::kCancel, StopKind::kPause, StopKind::kPreempt, StopKind::kDeadline}) {
    EXPECT_EQ(v1::StopKind_Name(static_cast<v1::StopKind>(kind)), Name(kind));
  }
  EXPECT_EQ(static_cast<int>(v1::Failure::OUT_OF_MEMORY),
            static_cast<int>(Attribution::kOutOfMemory));
  EXPECT_EQ(static_cast<int>(v1::Failure::INFRASTRUCTURE),
            static_cast<int>(Attribution::kInfrastructure));
  EXPECT_EQ(static_cast<int>(v1::Wait::ABOUT_TO_START),
            static_cast<int>(WaitReason::kAboutToStart));
  EXPECT_EQ(static_cast<int>(v1::Scheduling::HIGH) - 1, static_cast<int>(Priority::kHigh));
  EXPECT_EQ(static_cast<int>(v1::Scheduling::LOWEST) - 1, static_cast<int>(Priority::kLowest));
}

TEST(Schema, TheEdgesBetweenStatesAreThoseOfTheCode) {
  const auto database = TestPostgres::Get().NewDatabase();
  std::set<std::string> edges;
  for (const RunState from : kAllRunStates) {
    for (const RunTransition transition : kAllRunTransitions) {
      const auto to = Apply(from, transition);
      if (to.ok()) edges.insert(absl::StrCat(Name(from), ">", Name(*to)));
    }
  }
  EXPECT_EQ(Query(database,
                  "select string_agg(e, ' ' order by e collate \"C\") from "
                  "(select from_state || '>' || to_state as e from run_state_edges) s"),
            Joined(edges));
}

class DaemonRole : public ::testing::Test {
 protected:
  DaemonRole() : database_(TestPostgres::Get().NewDatabase()) {}

  // Whether the daemon's role may do this, and the SQLSTATE otherwise.
  bool MayDo(const std::string& sql) {
    TestPostgres::Database as_daemon = database_;
    const std::string wrapped =
        "do $do$ begin set local role finetuned_daemon; " + sql +
        "; raise exception 'undo' using errcode = 'P0099'; exception when insufficient_privilege "
        "then "
        "perform set_config('test.may', 'no', false); when sqlstate 'P0099' then "
        "perform set_config('test.may', 'yes', false); end $do$; select "
        "current_setting('test.may')";
    return TestPostgres::Query(as_daemon, wrapped) == "yes";
  }

  TestPostgres::Database database_;
};

TEST_F(DaemonRole, CannotChangeOrDeleteEvents) {
  EXPECT_FALSE(MayDo("update run_events set message = 'x'"));
  EXPECT_FALSE(MayDo("delete from run_events"));
}

TEST_F(DaemonRole, CannotChangeTheSchemaOrWhatIsSettled) {
  EXPECT_FALSE(MayDo("create table t (a int)"));
  EXPECT_FALSE(MayDo("drop table run_events"));
  EXPECT_FALSE(MayDo("delete from runs"));
  EXPECT_FALSE(MayDo("update run_specs set spec = ''"));
  EXPECT_FALSE(MayDo("update installation set page_token_key = ''"));
  EXPECT_TRUE(MayDo("perform ensure_event_partitions()"));
}

TEST(Schema, ATerminalRunDoesNotChangeAndAnEdgeThatIsNotThereIsRefused) {
  const auto database = TestPostgres::Get().NewDatabase();
  Query(database,
        "insert into owners (workspace_id, email) values (1, 'a');"
        "insert into shapes (gpus, gpu_type, cpus, memory_bytes) values (0, '', 1, 0);"
        "insert into experiments (workspace_id, path) values (1, '/e');"
        "insert into runs (workspace_id, owner_id, shape_id, priority, queue_pos, uid, name, "
        "model, experiment_id)"
        " values (1, 1, 1, 1, 1, gen_random_uuid(), 'r1', 'm', 1)");
  const auto refused = [&](const std::string& sql) {
    return Query(database, "do $do$ begin " + sql +
                               "; perform set_config('test.refused', 'no', false); exception when "
                               "check_violation then "
                               "perform set_config('test.refused', 'yes', false); end $do$; "
                               "select current_setting('test.refused')") == "yes";
  };
  EXPECT_TRUE(refused("update runs set state = 'RUNNING'"));
  EXPECT_FALSE(refused("update runs set state = 'STOPPED', end_time = now()"));
  EXPECT_TRUE(refused("update runs set state = 'PENDING', end_time = null"));
  EXPECT_TRUE(refused("update runs set last_seq = last_seq + 1"));
  EXPECT_FALSE(refused("update runs set labels = '{\"a\": \"b\"}'"));
  EXPECT_TRUE(refused("update owners set active = -1"));
}

}  // namespace
}  // namespace finetuned
