-- name: list_shapes
select shape_id, gpus, gpu_type, cpus, memory_bytes from shapes order by shape_id

-- name: peek_queue
-- The first few of each lane (shape and priority), begun at the lane's low-water hint. Rows locked by another claim
-- are passed over, so claimers never wait for each other.
select q.shape_id, q.priority, q.pos, q.run_id
from unnest($1::int[], $2::smallint[], $3::bigint[]) as lane(shape_id, priority, hint)
cross join lateral (
  select * from run_queue
  where run_queue.shape_id = lane.shape_id and run_queue.priority = lane.priority and run_queue.pos >= lane.hint
  order by run_queue.pos limit $4::int
  for update skip locked
) q
order by q.priority, q.pos

-- name: check_sessions
-- How workers that ask for runs stand, each with the leases of its session that it does not list: their answer was
-- lost. A worker in quarantine gets nothing, and after it one attempt at a time.
select w.session_id, w.draining, w.drain_requested, w.quarantine_end_time is not null as on_trial,
       coalesce(w.quarantine_end_time > clock_timestamp(), false) as in_quarantine, l.run_id, l.epoch
from workers w
left join leases l on (l.worker_id, l.session_id) = (w.worker_id, w.session_id)
  and (l.session_id, l.run_id, l.epoch) not in (select * from unnest($2::bigint[], $3::bigint[], $4::bigint[]))
where w.session_id = any($1::bigint[])
order by w.worker_id, l.run_id

-- name: lease_runs
-- Grants leases on queue rows that this transaction has locked, and tells what their workers need to know. A new epoch
-- fences every write of an older attempt. Expiry is by the database's clock.
with sessions as materialized (
  -- Locked to the end of the claim, so that a new session of the worker cannot come between; in the order of their ids,
  -- as everywhere. Nothing for those that stand otherwise than when they were looked at.
  select worker_id, session_id from workers
  where session_id = any($2::bigint[]) and not draining and not drain_requested
    and (quarantine_end_time is null
         or quarantine_end_time <= clock_timestamp() and session_id = any($3::bigint[]))
  order by worker_id for share
),
chosen as materialized (
  -- Runs that somebody else has locked, to cancel them, are passed over: waiting for them would be a deadlock.
  select i.*, s.worker_id, r.shape_id, r.priority, r.queue_pos
  from unnest($1::bigint[], $2::bigint[]) with ordinality as i(run_id, session_id, ordinal)
  join sessions s using (session_id)
  join runs r using (run_id)
  where r.state = 'PENDING'
  for no key update of r skip locked
),
claimed as (
  delete from run_queue q using chosen c
  where (q.shape_id, q.priority, q.pos) = (c.shape_id, c.priority, c.queue_pos)
  returning q.run_id, c.worker_id, c.session_id, c.ordinal
),
started as (
  update runs set state = 'STARTING', epoch = epoch + 1, update_time = greatest(update_time, clock_timestamp()),
                  state_reason = '',
                  -- The wait after a pause is not the run's own time.
                  paused_duration = paused_duration + coalesce(clock_timestamp() - resume_time, interval '0'),
                  resume_time = null
  from claimed where runs.run_id = claimed.run_id
  returning claimed.*, runs.epoch, runs.workspace_id, runs.name, runs.experiment_id, runs.create_time,
            runs.registered_model_id, runs.stop_requested, runs.checkpoints_kept
),
attempts as (
  insert into run_attempts (run_id, epoch, worker_id) select run_id, epoch, worker_id from started
),
granted as (
  insert into leases (run_id, epoch, worker_id, session_id, expire_time)
  select run_id, epoch, worker_id, session_id, clock_timestamp() + make_interval(secs => $4::float8) from started
)
select r.run_id, r.epoch, r.registered_model_id is not null as registers, w.name as workspace, r.name,
       s.spec, r.stop_requested, 0 as acked_report, e.path as experiment_path,
       extract(epoch from clock_timestamp() - r.create_time)::float8 as waited_seconds,
       coalesce((select c.path from checkpoints c where c.run_id = r.run_id order by c.step desc limit 1), '')
         as resume_from,
       -- No name has a slash.
       case when r.checkpoints_kept > 0
         then (select coalesce(string_agg(c.name, '/' order by c.step desc), '') from checkpoints c
               where c.run_id = r.run_id)
         else '' end as checkpoints
from started r
join workspaces w using (workspace_id)
join experiments e using (experiment_id)
join run_specs s using (run_id)
order by r.ordinal

-- name: describe_leases
-- What a worker needs to know of leases it holds.
select r.run_id, r.epoch, r.registered_model_id is not null as registers, w.name as workspace, r.name, s.spec, r.stop_requested, a.acked_report,
       e.path as experiment_path, extract(epoch from a.create_time - r.create_time)::float8 as waited_seconds,
       coalesce((select c.path from checkpoints c where c.run_id = r.run_id order by c.step desc limit 1), '')
         as resume_from,
       case when r.checkpoints_kept > 0
         then (select coalesce(string_agg(c.name, '/' order by c.step desc), '') from checkpoints c
               where c.run_id = r.run_id)
         else '' end as checkpoints
from unnest($1::bigint[], $2::bigint[]) with ordinality as i(run_id, epoch, ordinal)
join runs r using (run_id, epoch)
join workspaces w using (workspace_id)
join experiments e using (experiment_id)
join run_specs s using (run_id)
join run_attempts a on a.run_id = r.run_id and a.epoch = r.epoch
order by i.ordinal

-- name: renew_leases
-- Renews what its session still holds; locked in the order of run ids, as every other writer of leases does.
with input as materialized (
  select * from unnest($1::bigint[], $2::bigint[], $3::bigint[]) as i(session_id, run_id, epoch)
),
held as materialized (
  select l.run_id, l.epoch, l.session_id from leases l join input using (run_id, epoch, session_id)
  order by l.run_id for no key update of l
),
renewed as (
  update leases l set
    renew_time = clock_timestamp(),
    expire_time = clock_timestamp() + make_interval(secs => $4::float8)
  from held where l.run_id = held.run_id
  returning l.run_id, l.epoch, l.session_id
)
select n.session_id, n.run_id, n.epoch, coalesce(r.stop_requested::text, '') as stop_requested
from renewed n join runs r using (run_id)

-- name: touch_sessions
-- Returns the sessions that may still speak for their worker. Locked in the order of worker ids, as by lock_workers.
with held as materialized (
  select w.worker_id, i.draining
  from workers w join unnest($1::bigint[], $2::bool[]) as i(session_id, draining) using (session_id)
  order by w.worker_id for no key update of w
)
update workers set last_seen_time = clock_timestamp(), draining = held.draining
from held where workers.worker_id = held.worker_id
returning workers.session_id

-- name: open_session
-- The new session ends the one before of the same worker.
insert into workers (name, session_id, boot_id, version, gpus, gpu_type, cpus, memory_bytes, labels)
values ($1::text, ('x0' || left(gen_random_uuid()::text, 8) || left(gen_random_uuid()::text, 7))::bit(64)::bigint, $2::text, $3::text, $4::int, $5::text, $6::int, $7::bigint, $8::jsonb)
on conflict (name) do update set
  session_id = excluded.session_id, boot_id = excluded.boot_id, version = excluded.version, gpus = excluded.gpus,
  gpu_type = excluded.gpu_type, cpus = excluded.cpus, memory_bytes = excluded.memory_bytes, labels = excluded.labels,
  draining = false, last_seen_time = clock_timestamp()
returning worker_id, session_id

-- name: adopt_leases
-- Gives the new session the leases whose attempts its worker still has.
with held as materialized (
  select l.run_id from leases l
  join unnest($3::bigint[], $4::bigint[]) as i(run_id, epoch) using (run_id, epoch)
  where l.worker_id = $1::bigint order by l.run_id for no key update of l
)
-- Being adopted is no sign of life of the attempt: its host may have restarted.
update leases l set
  session_id = $2::bigint,
  expire_time = clock_timestamp() + make_interval(secs => $5::float8)
from held where l.run_id = held.run_id
returning l.run_id, l.epoch

-- name: orphaned_leases
-- Leases of older sessions of a worker: it has said that their attempts are gone.
select run_id, epoch from leases where worker_id = $1::bigint and session_id <> $2::bigint order by run_id

-- name: expired_leases
-- Few at a time: each is a transaction of its own, and a look that took long would be taken for an outage.
select run_id, epoch from leases where expire_time < clock_timestamp() order by run_id limit 100

-- name: begin_reaping
-- Returns how long ago any daemon last looked, in seconds.
with before as (select reap_time from installation for update)
update installation set reap_time = clock_timestamp() from before
returning extract(epoch from clock_timestamp() - before.reap_time)::float8

-- name: extend_leases
-- After a time in which nobody could renew, every worker gets its full time again.
update leases set expire_time = greatest(expire_time, clock_timestamp() + make_interval(secs => $1::float8))

-- name: overdue_runs
-- Runs whose wall-clock limit is over and that were not told yet.
select run_id from runs
where state in ('QUEUED', 'STARTING', 'RUNNING') and end_time is null and stop_requested is null
  and max_run_time is not null and start_time + max_run_time + paused_duration < clock_timestamp()
order by run_id limit 100

-- name: overlong_waits
-- Runs that have waited to start for the first time longer than they may.
select run_id from runs
where state = 'PENDING' and end_time is null and start_time is null and max_queue_time is not null
  and create_time + max_queue_time + paused_duration < clock_timestamp()
order by create_time limit 100

-- name: request_drain
-- Takes a worker out of use, or back, which ends its quarantine: whoever does it says that it is well.
update workers set
  drain_requested = $2::bool,
  quarantine_end_time = case when $2::bool then quarantine_end_time end,
  loss_count = case when $2::bool then loss_count else 0 end,
  trusted_time = case when $2::bool then trusted_time else clock_timestamp() end
where name = $1::text returning worker_id

-- name: lock_workers
-- Alone in its transaction: others lock workers before leases.
select worker_id from workers
where worker_id = any($1::bigint[]) or ($2::bool and quarantine_end_time is not null)
order by worker_id for no key update

-- name: worker_attempts
-- What the workers did last, newest first.
select w.worker_id, w.name, w.loss_count, w.quarantine_end_time is not null as in_quarantine, a.run_id, a.create_time, a.end_time, coalesce(a.attribution::text, '') as attribution,
       a.worker_lost, a.saved
from workers w
cross join lateral (
  select * from run_attempts where run_attempts.worker_id = w.worker_id and run_attempts.create_time > w.trusted_time
  order by run_attempts.create_time desc limit $2::int
) a
where w.worker_id = any($1::bigint[])
order by w.worker_id, a.create_time desc

-- name: set_quarantine
update workers w set loss_count = i.loss_count, quarantine_end_time = i.end_time
from unnest($1::bigint[], $2::int[], $3::timestamptz[]) as i(worker_id, loss_count, end_time)
where w.worker_id = i.worker_id and (w.loss_count, w.quarantine_end_time) is distinct from (i.loss_count, i.end_time)

-- name: attempts_of_worker
-- What a worker holds, oldest first, each with whose it is.
select l.run_id, l.epoch, r.name, w.name as workspace, w.workspace_id, r.owner_id, r.state, a.create_time,
       s.gpus, s.gpu_type, s.cpus, s.memory_bytes
from workers k
join leases l using (worker_id)
join runs r using (run_id)
join workspaces w using (workspace_id)
join shapes s using (shape_id)
join run_attempts a on a.run_id = l.run_id and a.epoch = l.epoch
where k.name = $1::text order by l.run_id limit 1000
