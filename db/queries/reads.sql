-- name: find_runs
-- The runs of these names or uids that the caller may see: its own, or the workspace's where that shares them. Deleted
-- ones are not there.
-- Looked up by the row's own owner, never by what the request says.
with wanted as (select * from unnest($1::text[]) with ordinality as i(wanted, ordinal)),
found as (
  select i.ordinal, r.run_id from wanted i join runs r on r.workspace_id = $2::bigint and r.name = i.wanted
  where ($3::bool or r.owner_id = $4::bigint) and r.delete_time is null
  union
  select i.ordinal, r.run_id
  from (select ordinal, case when wanted ~ '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$'
                             then wanted::uuid end as uid from wanted) i
  join runs r using (uid)
  where r.workspace_id = $2::bigint and ($3::bool or r.owner_id = $4::bigint) and r.delete_time is null
)
select ordinal, run_id from found order by ordinal

-- name: find_weights_run
-- The run that has left weights, if the viewer may see it; also one that is deleted, because what it has left stays.
select run_id from runs
where workspace_id = $1::bigint and name = $2::text and ($3::bool or owner_id = $4::bigint)

-- name: find_create_request
-- The run that this request has created already, and whether the request was the same.
select run_id, request_hash = $3::bytea as same from create_requests
where owner_id = $1::bigint and request_id = $2::uuid

-- name: get_runs
select r.run_id, w.name as workspace, o.email, r.name, r.uid, r.state, coalesce(r.stop_requested::text, '') as stop_requested,
       r.epoch, r.last_seq, r.shape_id, r.priority, r.queue_pos, r.create_time, r.update_time, r.start_time,
       r.end_time, r.estimated_end_time, r.state_reason, r.labels, r.links, r.progress, r.failure, s.spec, e.path as experiment_path,
       e.uid as experiment_uid, r.max_retries, coalesce(extract(epoch from r.max_run_time), 0)::bigint as max_run_seconds,
       coalesce(extract(epoch from r.max_queue_time), 0)::bigint as max_queue_seconds,
       case when r.state = 'PENDING' and r.retry_time > clock_timestamp() then r.retry_time end as retry_time,
       -- What a run cannot have yet, or has no more, is not looked for.
       case when r.epoch = 0 then '' else
         coalesce((select c.path from checkpoints c where c.run_id = r.run_id order by c.step desc limit 1), '')
       end as latest_checkpoint,
       case when r.epoch = 0 or r.end_time is not null then '' else
         coalesce((select k.name from leases l join workers k using (worker_id) where l.run_id = r.run_id), '')
       end as worker,
       case when r.registered_model_id is null then 0 else
         coalesce((select v.version from model_versions v where v.run_id = r.run_id), 0)
       end as registered_version,
       coalesce((select f.name from runs f where f.run_id = r.source_run_id), '') as source_run
from unnest($1::bigint[]) with ordinality as i(run_id, ordinal)
join runs r using (run_id)
join workspaces w using (workspace_id)
join owners o using (owner_id)
join experiments e using (experiment_id)
join run_specs s using (run_id)
order by i.ordinal

-- name: list_events
select seq, event_time, epoch, type, message, detail from run_events
where run_id = $1::bigint and seq > $2::bigint order by seq limit $3::int

-- name: list_events_of
-- What is new of many runs, so many of each.
select i.run_id, e.seq, e.event_time, e.epoch, e.type, e.message, e.detail
from unnest($1::bigint[], $2::bigint[]) as i(run_id, after_seq)
cross join lateral (
  select * from run_events where run_events.run_id = i.run_id and run_events.seq > i.after_seq
  order by run_events.seq limit $3::int
) e
order by i.run_id, e.seq

-- name: list_checkpoints
select detail, create_time, epoch from checkpoints where run_id = $1::bigint order by step desc limit 1000

-- name: metric_files
-- A run's state, and of each of its attempts that has numbers how much of its metric file may be read; the 1,000 newest.
-- One row without an attempt where there is none.
select r.state, coalesce(a.epoch, 0) as epoch, coalesce(a.metric_bytes, 0) as metric_bytes
from runs r left join run_attempts a on a.run_id = r.run_id and a.metric_bytes > 0
where r.run_id = $1::bigint
order by a.epoch desc limit 1000

-- name: list_attempts
-- By the primary key, newest first.
select a.epoch, w.name as worker, a.create_time, a.start_time, a.end_time, coalesce(a.end_reason, '') as end_reason,
       coalesce(a.attribution::text, '') as attribution,
       extract(epoch from coalesce(a.end_time, clock_timestamp()) - a.create_time)::float8 as held_seconds,
       s.gpus, s.gpu_type, s.cpus, s.memory_bytes,
       coalesce((select c.name from checkpoints c where c.run_id = a.run_id and c.epoch = a.epoch
                 order by c.step desc limit 1), '') as checkpoint
from run_attempts a join workers w using (worker_id) join runs r using (run_id) join shapes s using (shape_id)
where a.run_id = $1::bigint order by a.epoch desc limit 1000

-- name: watch_runs
-- Where runs stand that somebody follows; one small statement for all of a daemon's subscribers.
select run_id, last_seq, state, coalesce(stop_requested::text, '') as stop_requested, epoch
from runs where run_id = any($1::bigint[])

-- name: queue_place
-- How many runs of the same needs go before this one, itself included, $4 + 1 where they are more than $4: a long queue
-- is not counted through. Null when it is not queued.
select case when exists (select from run_queue q
                         where (q.shape_id, q.priority, q.pos) = ($1::int, $2::smallint, $3::bigint))
            then (select count(*) from (
              select from run_queue q
              where q.shape_id = $1::int and (q.priority, q.pos) <= ($2::smallint, $3::bigint)
              order by q.priority, q.pos limit $4::int + 1) before) end as position

-- name: list_workers
select w.name, w.session_id is not null as has_session, w.draining or w.drain_requested as draining,
       extract(epoch from clock_timestamp() - w.last_seen_time)::float8 as seen_seconds_ago, w.last_seen_time,
       w.loss_count, w.quarantine_end_time,
       w.version, w.gpus, w.gpu_type, w.cpus, w.memory_bytes, w.labels,
       count(l.run_id) as attempt_count, coalesce(sum(s.gpus), 0) as used_gpus, coalesce(sum(s.cpus), 0) as used_cpus,
       coalesce(sum(s.memory_bytes), 0) as used_memory_bytes
from workers w
left join leases l using (worker_id)
left join runs r using (run_id)
left join shapes s using (shape_id)
where cardinality($1::text[]) = 0 or w.name = any($1::text[])
group by w.worker_id order by w.name limit 1000

-- name: get_quota
select active, coalesce(active_limit, $2::int) as active_limit from owners where owner_id = $1::bigint

-- name: active_runs
select name from runs
where owner_id = $1::bigint and end_time is null and state <> 'PAUSED'
order by run_id limit 100

-- name: taken_name
select run_id from runs where workspace_id = $1::bigint and name = $2::text

-- name: count_runs_by_state
select state, count(*) as run_count from runs
where end_time is null and state <> 'PAUSED' group by state

-- name: count_quarantined
select count(*) from workers where quarantine_end_time is not null

-- name: check_writable
-- Fails on a standby and on a disk that is full: what SELECT 1 does not notice.
update installation set reap_time = reap_time returning 1
