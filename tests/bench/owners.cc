#include "tests/bench/owners.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "db/queries.h"
#include "tests/bench/require.h"

namespace finetuned::bench {

void MakeOwners(const TestInstallation& installation, int count, int active_limit) {
  installation.Sql(absl::StrCat(
      "insert into workspaces (name) values ('default') on conflict do nothing;"
      "insert into owners (workspace_id, email, active_limit) select workspace_id, 'bench-' || n "
      "|| '@example.com', ",
      active_limit, " from workspaces, generate_series(1, ", count,
      ") n where name = 'default';"
      "insert into tokens (token_hash, workspace_id, email, role) select sha256(('bench-' || "
      "n)::bytea), workspace_id, 'bench-' || n || '@example.com', 'user' from workspaces, "
      "generate_series(1, ",
      count, ") n where name = 'default'; analyze owners, tokens; select 1"));
}

std::string TokenOf(int owner) { return absl::StrCat("bench-", owner); }

void CreateFirst(const TestInstallation& installation, const DaemonProcess& daemon) {
  TestClient user(daemon.listen(), TokenOf(1));
  const auto run = user.Create(ValidRequest(installation));
  Require(run.ok() && user.Cancel(run->name()).ok(), "no first run");
}

void QueueRuns(const TestInstallation& installation, int owners, int64_t count) {
  // Partitions of events are made for a hundred thousand runs each.
  constexpr int64_t kStep = 100'000;
  for (int64_t done = 0; done < count; done += kStep) {
    // As the daemon does it, which may do it now.
    installation.Sql(kMakeEventPartitions.sql);
    // What a row refers to is there; it is not asked for again with each row.
    installation.Sql(absl::StrCat(
        "set local session_replication_role = replica; "
        "with first as (select * from runs order by run_id limit 1), made as (insert into runs "
        "(workspace_id, owner_id, shape_id, priority, queue_pos, uid, name, model, experiment_id, "
        "feed_pos) select first.workspace_id, (select min(owner_id) from owners where email like "
        "'bench-%') + n % ",
        owners,
        ", first.shape_id, first.priority, nextval('queue_positions'), gen_random_uuid(), "
        "'queued-' || nextval('queue_positions'), first.model, first.experiment_id, "
        "feed_position() from first, "
        "generate_series(1, ",
        std::min(kStep, count - done),
        ") n returning *), specs as (insert into run_specs (run_id, spec) select made.run_id, "
        "s.spec from made, (select spec from run_specs order by run_id limit 1) s), queued as "
        "(insert into run_queue (shape_id, priority, pos, run_id) select shape_id, priority, "
        "queue_pos, run_id from made), counted as (update owners set active = active + c.count "
        "from "
        "(select owner_id, count(*) from made group by 1) c where owners.owner_id = c.owner_id) "
        "insert into run_events (run_id, seq, event_time, epoch, type, message, detail, feed_pos) "
        "select run_id, 1, create_time, 0, 'CREATED', 'Run created.', '', feed_pos from made"));
  }
  installation.Sql("vacuum analyze");
  installation.Sql("checkpoint");
}

std::string PlainCreate(const TestInstallation& installation, const std::string& owner,
                        const std::string& condition) {
  const std::string spec_bytes =
      installation.Sql("select max(length(spec))::text from run_specs where run_id < 1000");
  return absl::StrCat(
      "\\set owner ", owner,
      "\n"
      "with o as (update owners set active = active + 1 where owner_id = :owner and ",
      condition,
      " returning owner_id, workspace_id),\n"
      "r as (insert into runs (workspace_id, owner_id, shape_id, priority, queue_pos, uid, name, "
      "model, experiment_id, feed_pos) select o.workspace_id, o.owner_id, s.shape_id, 1, "
      "nextval('queue_positions'), gen_random_uuid(), 'sql-' || substr(gen_random_uuid()::text, 1, "
      "30) || 'x', 'finetuned/tiny-llama', e.experiment_id, feed_position() from o, (select "
      "shape_id from shapes limit 1) s, (select experiment_id from experiments where path = "
      "'/bench' limit 1) e returning run_id, owner_id, shape_id, priority, queue_pos, create_time, "
      "feed_pos),\n"
      "s as (insert into run_specs (run_id, spec) select run_id, decode(repeat('0a', ",
      spec_bytes,
      "), 'hex') from r),\n"
      "q as (insert into run_queue (shape_id, priority, pos, run_id) select shape_id, priority, "
      "queue_pos, run_id from r),\n"
      "c as (insert into create_requests (owner_id, request_id, request_hash, run_id) select "
      "owner_id, gen_random_uuid(), decode(repeat('0a', 32), 'hex'), run_id from r)\n"
      "insert into run_events (run_id, seq, event_time, epoch, type, message, detail, feed_pos) "
      "select run_id, 1, create_time, 0, 'CREATED', 'Run created.', '', feed_pos from r;\n");
}

void CheckCounters(const TestInstallation& installation) {
  const std::string wrong = installation.Sql(
      "select count(*) from owners o where o.active <> (select count(*) from runs r where "
      "r.owner_id = o.owner_id and r.end_time is null) or o.active > coalesce(o.active_limit, 10)");
  Require(wrong == "0", "counters differ from the runs");
}

}  // namespace finetuned::bench
