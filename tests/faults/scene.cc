#include "tests/faults/scene.h"

#include <cstdlib>
#include <iostream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "base/clock.h"
#include "base/status.h"
#include "base/uuid.h"

namespace finetuned {
namespace {

Pool::Options PoolOptions(const std::string& database_url) {
  Pool::Options options;
  options.database_url = database_url;
  // The statements of a race are to be the same whenever it is run.
  options.first_plan_life = absl::InfiniteDuration();
  return options;
}

FailureEncoder PlainEncoder() {
  return {[](const Failure&) { return std::string(); },
          [](const Failure& failure) { return failure.code; }};
}

TransitionStore::Options TransitionOptions() {
  TransitionStore::Options options;
  options.encoder = PlainEncoder();
  // Workers are judged after the commit, in a transaction that locks nothing but workers: it would
  // only make the orders many times as many.
  options.quarantine.losses = 0;
  return options;
}

[[noreturn]] void Die(const std::string& what) {
  std::cerr << "making a scene: " << what << "\n";
  abort();
}

template <typename T>
T Value(absl::StatusOr<T> value, const char* what) {
  if (!value.ok()) Die(absl::StrCat(what, ": ", value.status().ToString()));
  return *std::move(value);
}

// Every promise about the runs of an owner that can be read from the tables. $1: the owner.
constexpr char kViolations[] = R"sql(
with mine as materialized (
  select r.*, r.state in ('COMPLETED', 'FAILED', 'STOPPED') as terminal,
         r.state in ('QUEUED', 'STARTING', 'RUNNING', 'TERMINATING') as held
  from runs r where r.owner_id = $1
),
owner as (select * from owners where owner_id = $1),
found as (
  select 'the counter is ' || o.active || ' and ' || count(m.run_id) || ' runs are active' as what
  from owner o left join mine m on m.state = 'PENDING' or m.held group by o.active
  having o.active <> count(m.run_id)
  union all
  select o.active || ' active runs of at most ' || o.active_limit from owner o where o.active > o.active_limit
  union all
  select 'run ' || m.run_id || ' has ' || count(e.seq) || ' events up to ' || coalesce(max(e.seq), 0)
         || ' and says ' || m.last_seq
  from mine m left join run_events e using (run_id) group by m.run_id, m.last_seq
  having count(e.seq) <> m.last_seq or coalesce(max(e.seq), 0) <> m.last_seq
  union all
  select 'run ' || m.run_id || ' is ' || m.state || ' and has '
         || count(e.seq) filter (where e.type in ('COMPLETED', 'FAILED', 'CANCELED')) || ' terminal events'
  from mine m join run_events e using (run_id) group by m.run_id, m.state, m.terminal
  having count(e.seq) filter (where e.type in ('COMPLETED', 'FAILED', 'CANCELED')) <> m.terminal::int
  union all
  select 'run ' || m.run_id || ' is ' || m.state || ' and ends with ' || e.type
  from mine m join run_events e on e.run_id = m.run_id and e.seq = m.last_seq
  where m.terminal and e.type::text <> case m.state when 'STOPPED' then 'CANCELED' else m.state::text end
  union all
  select 'run ' || e.run_id || ' has an event of attempt ' || e.epoch || ' after one of attempt ' || e.before
  from (select run_id, epoch, max(epoch) over (partition by run_id order by seq) as before
        from run_events join mine using (run_id, epoch) where epoch > 0) e
  where e.epoch < e.before
  union all
  select 'run ' || e.run_id || ' has event ' || e.seq || ' at ' || e.feed_pos || ' and one before it at ' || e.before
  from (select run_id, seq, feed_pos, max(feed_pos) over (partition by run_id order by seq) as before
        from (select run_id, seq, feed_pos from run_events where run_id in (select run_id from mine)) o) e
  where e.feed_pos < e.before
  union all
  select 'run ' || m.run_id || ' is at ' || m.feed_pos || ' and its last event at ' || e.feed_pos
  from mine m join run_events e on e.run_id = m.run_id and e.seq = m.last_seq where e.feed_pos <> m.feed_pos
  union all
  select 'run ' || m.run_id || ' is ' || m.state || ' and has ' || count(l.run_id) || ' leases of its attempt'
  from mine m left join leases l on l.run_id = m.run_id and l.epoch = m.epoch group by m.run_id, m.state, m.held
  having count(l.run_id) <> m.held::int
  union all
  select 'run ' || m.run_id || ' has a lease of attempt ' || l.epoch || ' and is at ' || m.epoch
  from mine m join leases l using (run_id) where l.epoch <> m.epoch
  union all
  select 'run ' || m.run_id || ' is held by a session that ' || w.name || ' has no more'
  from mine m join leases l using (run_id) join workers w using (worker_id)
  where l.session_id is distinct from w.session_id
  union all
  select 'run ' || m.run_id || ' is ' || m.state || ' and has ' || count(a.epoch) || ' attempts that have not ended'
  from mine m left join run_attempts a on a.run_id = m.run_id and a.end_time is null group by m.run_id, m.state, m.held
  having count(a.epoch) <> m.held::int
  union all
  select 'run ' || m.run_id || ' is ' || m.state || ' and stands ' || count(q.run_id) || ' times in the queue'
  from mine m left join run_queue q on q.run_id = m.run_id group by m.run_id, m.state
  having count(q.run_id) > (m.state = 'PENDING')::int
  union all
  select 'run ' || m.run_id || ' stands in another lane than its own'
  from mine m join run_queue q using (run_id)
  where (q.shape_id, q.priority, q.pos) <> (m.shape_id, m.priority, m.queue_pos)
  union all
  select 'of ' || o.active || ' active runs ' || count(m.run_id) filter (where m.held or q.run_id is not null)
         || ' are queued or held; the limit is ' || coalesce(o.holding_limit::text, 'none')
  from owner o left join mine m on m.state = 'PENDING' or m.held left join run_queue q on q.run_id = m.run_id
  group by o.active, o.holding_limit
  having count(m.run_id) filter (where m.held or q.run_id is not null)
         <> least(o.active, coalesce(o.holding_limit, o.active))
  union all
  select 'run ' || m.run_id || ' is ' || m.state || ' and has registered ' || count(v.version) || ' versions'
  from mine m left join model_versions v on v.run_id = m.run_id
  group by m.run_id, m.state, m.registered_model_id
  having count(v.version) <> (m.state = 'COMPLETED' and m.registered_model_id is not null)::int
)
select coalesce(string_agg(what, E'\n'), '') from found
)sql";

}  // namespace

Stores::Stores(const std::string& database_url)
    : pool(PoolOptions(database_url)),
      admission(&pool, QuotaLimits()),
      leases(&pool, kLeaseDuration),
      transitions(&pool, TransitionOptions()),
      edits(&pool) {}

absl::StatusOr<std::optional<AttemptId>> AcquireOne(LeaseStore& leases, int64_t session) {
  FT_ASSIGN_OR_RETURN(const auto standings, leases.Check({{session, {}}}));
  FT_ASSIGN_OR_RETURN(const Standing standing, standings[0]);
  if (!standing.unlisted.empty()) return standing.unlisted[0].attempt;
  if (!standing.may_have_more) return std::nullopt;
  const Claim claim{session, standing.on_trial, Shape{0, "", 64, 0}, 1};
  FT_ASSIGN_OR_RETURN(const Acquisition acquired, leases.Acquire({claim}, /*thorough=*/true));
  const std::vector<LeasedRun>& granted = acquired.grants[0].leases;
  if (granted.empty()) return std::nullopt;
  return granted[0].attempt;
}

SceneMaker::SceneMaker()
    : database_(TestPostgres::Get().NewDatabase()),
      admin_(database_.admin_url),
      stores_(database_.daemon_url) {
  Sql("insert into workspaces (name) values ('races') on conflict do nothing");
}

std::string SceneMaker::Sql(const std::string& sql) { return admin_.Query(sql); }

NewRun SceneMaker::NewRunOf(const Scene& scene, const std::string& name) const {
  NewRun run;
  run.workspace_id = scene.workspace_id;
  run.owner_id = scene.owner_id;
  run.shape.cpus = 1;
  run.name = name;
  run.uid = NewUuid(RealClock::Get().Now());
  run.request_id = NewUuid(RealClock::Get().Now());
  run.request_hash = "hash";
  run.model = "m/m";
  run.experiment_path = "/races/" + name;
  run.labels_json = "{}";
  return run;
}

Scene SceneMaker::Make(const SceneOptions& options) {
  Scene scene;
  const int number = next_++;
  // What earlier scenes have left must not be leased.
  Sql("delete from run_queue");
  scene.workspace_id = std::stoll(Sql("select workspace_id from workspaces where name = 'races'"));
  scene.owner_id = std::stoll(Sql(
      absl::StrCat("insert into owners (workspace_id, email, active_limit, holding_limit) values (",
                   scene.workspace_id, ", 'o", number, "@example.com', ", options.active_limit,
                   ", ", options.holding_limit ? absl::StrCat(*options.holding_limit) : "null",
                   ") returning owner_id")));
  NewRun run = NewRunOf(scene, absl::StrCat("run-", number));
  if (options.registers) run.register_to = absl::StrCat("a.b.m", number);
  const auto admit = [&](const NewRun& wanted) {
    const auto admitted =
        Value(stores_.admission.Admit({std::make_shared<const NewRun>(wanted)}), "Admit");
    return Value(admitted[0], "Admit").run_id;
  };
  scene.run_id = admit(run);
  scene.worker = absl::StrCat("w", number);
  const auto open = [&](const std::string& name) {
    WorkerInfo worker{name, "boot", "1", Shape{0, "", 64, 0}, "{}"};
    return Value(stores_.leases.OpenSession(worker, {}), "OpenSession").session;
  };
  scene.session = open(scene.worker);
  scene.other_session = open(scene.worker + "-other");
  if (options.stage == Stage::kPaused) {
    Value(stores_.transitions.Pause(scene.run_id, "Paused."), "Pause");
  } else if (options.stage != Stage::kPending) {
    const auto leased = Value(AcquireOne(stores_.leases, scene.session), "Acquire");
    if (!leased.has_value() || leased->run_id != scene.run_id) Die("another run was leased");
    scene.epoch = leased->epoch;
  }
  if (options.stage == Stage::kRunning || options.stage == Stage::kTrained) {
    std::vector<IncomingReport> reports(options.stage == Stage::kTrained ? 2 : 1);
    reports[0].number = 1;
    reports[0].type = EventType::kStarted;
    if (options.stage == Stage::kTrained) {
      reports[1].number = 2;
      reports[1].type = EventType::kTrainFinished;
    }
    const auto reported =
        Value(stores_.transitions.Report({{scene.session, scene.run_id, scene.epoch, reports}}),
              "Report");
    Value(reported[0], "Report");
  }
  if (options.expired) {
    Sql(
        absl::StrCat("update leases set expire_time = clock_timestamp() - interval '1 second' "
                     "where run_id = ",
                     scene.run_id));
  }
  for (int i = 0; i < options.others; ++i) {
    scene.others.push_back(admit(NewRunOf(scene, absl::StrCat("run-", number, "-", i))));
  }
  if (options.raised_holding_limit.has_value()) {
    Sql(absl::StrCat("update owners set holding_limit = ", *options.raised_holding_limit,
                     " where owner_id = ", scene.owner_id));
  }
  return scene;
}

std::string SceneMaker::State(const Scene& scene) {
  return Sql(absl::StrCat(
      "select state || coalesce(' ' || stop_requested::text, '') from runs where run_id = ",
      scene.run_id));
}

std::string SceneMaker::Violations(const Scene& scene) {
  return admin_.Query(absl::StrReplaceAll(kViolations, {{"$1", absl::StrCat(scene.owner_id)}}));
}

}  // namespace finetuned
