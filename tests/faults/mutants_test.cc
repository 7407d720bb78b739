// Whether the checks of the races would notice: each mutant is one change of the SQL that takes
// away something a promise stands on, and the race that is named has to find it.

#include <gtest/gtest.h>

#include <cstring>
#include <iostream>

#include "db/queries.h"
#include "tests/faults/races.h"

namespace finetuned {
namespace {

// A part of a statement's text, and what stands in its place.
struct Change {
  const char* statement;
  const char* from;
  const char* to;
};

struct Mutant {
  const char* what;
  // The race that notices.
  const char* race;
  // Several where each alone is held by the others.
  std::vector<Change> changes;
};

const std::vector<Mutant>& AllMutants() {
  static const auto* mutants = new std::vector<Mutant>{
      {"owners are not locked for a create",
       "create twice at the limit",
       {{"lock_owners", "for no key update", ""}}},
      {"a create does not look at the limit",
       "create twice at the limit",
       {{"admit_runs", "where active + place <= active_limit", ""}}},
      {"a create does not count",
       "one request twice",
       {{"admit_runs", "set active = active + c.admitted_count", "set active = active"}}},
      {"a create forgets its request",
       "one request twice",
       {{"admit_runs", "select i.ordinal, r.run_id, r.request_hash",
         "select i.ordinal, r.run_id, false and r.request_hash"}}},
      {"leases are not locked for their loss",
       "renew and reaper",
       {{"lock_leases", "for no key update", ""}}},
      {"owners are not locked for an end",
       "finish and update of what waits, one held",
       {{"lock_owners_of_runs", "for no key update", ""}}},
      {"an expired lease is lost whatever its renewal says",
       "renew and reaper",
       {{"read_locked_runs", "coalesce(l.expire_time < clock_timestamp(), false) as lease_expired",
         "l.run_id is not null as lease_expired"}}},
      {"the end of an attempt keeps its lease",
       "finish twice",
       {{"apply_transitions", "where l.run_id = m.run_id and m.ends_attempt",
         "where l.run_id = m.run_id and false"}}},
      {"the end of an attempt is not noted",
       "cancel and crash",
       {{"apply_transitions", "and a.end_time is null and m.ends_attempt",
         "and a.end_time is null and false"}}},
      {"the end of a run frees no slot",
       "cancel and crash",
       {{"apply_transitions", "set active = o.active - f.freed_count", "set active = o.active"}}},
      {"a stopped run stays in the queue",
       "cancel and acquire",
       {{"apply_transitions", "and m.state <> 'PENDING'", "and m.state = 'PENDING'"}}},
      {"a run that is queued again is in no queue",
       "reaper twice",
       {{"apply_transitions", "from moved where state = 'PENDING'",
         "from moved where state = 'PAUSED'"}}},
      {"numbers of events leave a gap",
       "cancel twice",
       {{"apply_transitions", "last_seq = r.last_seq + 1", "last_seq = r.last_seq + 2"}}},
      {"a new attempt has the number of the one before",
       "reassign and report",
       {{"lease_runs", "epoch = epoch + 1", "epoch = greatest(epoch, 1)"}}},
      {"a session may be superseded while it claims",
       "open session and acquire",
       {{"lease_runs", "order by worker_id for share", "order by worker_id"}}},
      {"a worker's new session orphans the runs of others",
       "another worker's session and report",
       {{"orphaned_leases", "worker_id = $1::bigint and session_id <> $2::bigint",
         "$1::bigint is not null and session_id <> $2::bigint"}}},
      {"a resume does not look at the limit",
       "resume and create at the limit",
       {{"resume_run", "and o.active < coalesce(o.active_limit, $2::int)",
         "and $2::int is not null"}}},
      {"a resume keeps its place",
       "resume twice",
       {{"resume_run", "set active = o.active + 1", "set active = o.active"}}},
      {"the next run is let in beyond the holding limit",
       "resume and create, one held",
       {{"release_runs", "where w.place <= limited.holding_limit - released.released_count", ""}}},
      {"a change of priority leaves the queue as it was",
       "update and acquire",
       {{"update_run", "and q.priority <> m.priority", "and false"}}},
      {"a run may be paused while it is leased",
       "pause and acquire",
       {{"apply_transitions", "delete from run_queue q using moved m",
         "delete from run_queue q using (select * from moved limit 0) m"}}},
      {"a report does not move the number of the newest event",
       "cancel and report",
       {{"store_reports", "last_seq = i.last_seq", "last_seq = r.last_seq"}}},
      {"the first event has the number two",
       "create twice at the limit",
       {{"admit_runs", "select run_id, 1, now, 0, 'CREATED'",
         "select run_id, 2, now, 0, 'CREATED'"}}},
      {"whose lease it is is not looked at",
       "another worker's session and report",
       {{"read_locked_runs", "coalesce(l.session_id, 0) as session_id", "0 as session_id"}}},
      {"positions of a run's events go down",
       "cancel and report",
       {{"store_reports", "greatest(r.feed_pos, (select feed_position()))",
         "(select feed_position())"},
        {"apply_transitions", "greatest(r.feed_pos, (select feed_position()))",
         "(select feed_position())"}}},
      {"the run's state is not written with its end",
       "finish twice",
       {{"apply_transitions", "state = i.new_state,", "state = r.state,"}}},
  };
  return *mutants;
}

// The statements as they are to be prepared; empty where one has not the text that is to change.
PgGate::Mutation Apply(const Mutant& mutant) {
  PgGate::Mutation mutation;
  for (const Change& change : mutant.changes) {
    for (const Query* query : kAllQueries) {
      if (std::strcmp(query->name, change.statement) != 0) continue;
      std::string& sql = mutation.emplace(query->name, query->sql).first->second;
      const size_t at = sql.find(change.from);
      if (at == std::string::npos) return {};
      sql.replace(at, std::strlen(change.from), change.to);
    }
  }
  return mutation;
}

TEST(Mutants, EveryOneIsNoticed) {
  SceneMaker scenes;
  const std::vector<Race> races = AllRaces();
  for (const Mutant& mutant : AllMutants()) {
    SCOPED_TRACE(mutant.what);
    const PgGate::Mutation mutation = Apply(mutant);
    ASSERT_FALSE(mutation.empty()) << "a statement has no such text any more";
    const Race* race = nullptr;
    for (const Race& one : races) {
      if (one.name == mutant.race) race = &one;
    }
    ASSERT_NE(race, nullptr);
    Explorer explorer(&scenes, mutation);
    const Exploration exploration = explorer.Explore(*race);
    EXPECT_GT(exploration.mutations, 0);
    EXPECT_NE(exploration.violation, "") << "not noticed in " << exploration.schedules << " orders";
    std::cout << mutant.what << ": noticed in order " << exploration.schedules << ", "
              << exploration.violation.substr(0, exploration.violation.find('\n')) << "\n";
  }
}

}  // namespace
}  // namespace finetuned
