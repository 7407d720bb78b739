-- name: lock_owners
-- Taken first, in the order of their ids, so that two batches never wait for each other in a circle. The next
-- statement then has a snapshot in which no create of these owners is half done.
-- Tells which of them have a holding limit.
select owner_id, coalesce(holding_limit, $2::int) is not null as has_holding_limit
from owners where owner_id = any($1::bigint[]) order by owner_id for no key update

-- name: admit_runs
-- Admits, refuses or recognises each request of a batch; one row each. A request seen before is answered first, then
-- a name clash, then a model of somebody else, then the quota, so that none but what is admitted touches the counter. The
-- counter moves by what was really inserted. Outcome NAME_RACE: another owner took the name of the run or of the model
-- while this statement ran; its quota slot was not used, so the caller runs the refused ones of that owner again.
with input as materialized (
  select * from unnest(
      $1::bigint[], $2::bigint[], $3::int[], $4::smallint[], $5::text[], $6::uuid[], $7::uuid[], $8::bytea[],
      $9::bytea[], $10::text[], $11::text[], $12::jsonb[], $13::int[], $14::bigint[], $15::int[], $16::text[],
      $19::text[], $20::int[], $21::bigint[], $22::text[], $23::bigint[], $24::bigint[])
    with ordinality as i(
      workspace_id, owner_id, gpus, priority, name, uid, request_id, request_hash,
      spec, model, experiment_path, labels, max_retries, max_run_seconds, checkpoints_kept, message,
      gpu_type, cpus, memory_bytes, register_to, source_run_id, max_queue_seconds, ordinal)
),
replayed as materialized (
  select i.ordinal, r.run_id, r.request_hash = i.request_hash as same
  from input i join create_requests r using (owner_id, request_id)
),
clashing as materialized (
  select i.ordinal, runs.owner_id = i.owner_id as own
  from input i join runs using (workspace_id, name)
  where i.ordinal not in (select ordinal from replayed)
),
foreign_models as materialized (
  select i.ordinal
  from input i join registered_models m on (m.workspace_id, m.name) = (i.workspace_id, i.register_to)
  where m.owner_id <> i.owner_id
    and i.ordinal not in (select ordinal from replayed union all select ordinal from clashing)
),
ranked as (
  select i.*, o.active, coalesce(o.active_limit, $17::int) as active_limit,
         row_number() over (partition by i.owner_id order by i.ordinal) as place
  from input i join owners o using (owner_id)
  where i.ordinal not in (select ordinal from replayed union all select ordinal from clashing
                          union all select ordinal from foreign_models)
),
admitted as materialized (
  select *, nextval(pg_get_serial_sequence('runs', 'run_id')) as run_id, nextval('queue_positions') as queue_pos,
         clock_timestamp() as now
  from ranked where active + place <= active_limit order by ordinal
),
known_experiments as (
  select distinct e.experiment_id, e.workspace_id, e.path, e.uid
  from admitted a join experiments e on (e.workspace_id, e.path) = (a.workspace_id, a.experiment_path)
),
made_experiments as (
  insert into experiments (workspace_id, path)
  select distinct workspace_id, experiment_path from admitted
  where (workspace_id, experiment_path) not in (select workspace_id, path from known_experiments)
  -- In one order everywhere, so that two batches never wait for each other in a circle. One that another batch has made
  -- since this statement began is returned only if it is touched.
  order by 1, 2
  on conflict (workspace_id, path) do update set path = excluded.path
  returning experiment_id, workspace_id, path, uid
),
known_shapes as (
  select distinct s.shape_id, s.gpus, s.gpu_type, s.cpus, s.memory_bytes
  from admitted a
  join shapes s on (s.gpus, s.gpu_type, s.cpus, s.memory_bytes) = (a.gpus, a.gpu_type, a.cpus, a.memory_bytes)
),
made_shapes as (
  insert into shapes (gpus, gpu_type, cpus, memory_bytes)
  select distinct gpus, gpu_type, cpus, memory_bytes from admitted
  where (gpus, gpu_type, cpus, memory_bytes) not in (select gpus, gpu_type, cpus, memory_bytes from known_shapes)
  order by 1, 2, 3, 4
  on conflict (gpus, gpu_type, cpus, memory_bytes) do update set gpus = excluded.gpus
  returning shape_id, gpus, gpu_type, cpus, memory_bytes
),
known_models as (
  select distinct m.model_id, m.workspace_id, m.owner_id, m.name
  from admitted a join registered_models m on (m.workspace_id, m.name) = (a.workspace_id, a.register_to)
),
made_models as (
  insert into registered_models (workspace_id, owner_id, name)
  select distinct on (workspace_id, register_to) workspace_id, owner_id, register_to from admitted
  where register_to <> '' and (workspace_id, register_to) not in (select workspace_id, name from known_models)
  order by workspace_id, register_to, ordinal
  on conflict (workspace_id, name) do update set name = excluded.name
  returning model_id, workspace_id, owner_id, name
),
inserted as (
  insert into runs (run_id, workspace_id, owner_id, shape_id, priority, queue_pos, max_retries, max_run_time,
                    checkpoints_kept, create_time, update_time, uid, name, model, experiment_id, labels,
                    registered_model_id, source_run_id, max_queue_time, feed_pos)
    overriding system value
  select a.run_id, a.workspace_id, a.owner_id, s.shape_id, a.priority, a.queue_pos, a.max_retries,
         make_interval(secs => nullif(a.max_run_seconds, 0)), a.checkpoints_kept, a.now, a.now, a.uid, a.name, a.model,
         e.experiment_id, a.labels, m.model_id, nullif(a.source_run_id, 0),
         make_interval(secs => nullif(a.max_queue_seconds, 0)), (select feed_position())
  from admitted a
  join (select * from known_experiments union all select * from made_experiments) e
    on (e.workspace_id, e.path) = (a.workspace_id, a.experiment_path)
  join (select * from known_shapes union all select * from made_shapes) s
    on (s.gpus, s.gpu_type, s.cpus, s.memory_bytes) = (a.gpus, a.gpu_type, a.cpus, a.memory_bytes)
  left join (select * from known_models union all select * from made_models) m
    on (m.workspace_id, m.name) = (a.workspace_id, a.register_to)
  where a.register_to = '' or m.owner_id = a.owner_id
  on conflict (workspace_id, name) do nothing
  returning run_id, owner_id, shape_id, priority, queue_pos, feed_pos
),
-- Looked up by hash: a join of the two, of which few rows are expected, would compare every run with every other.
made as materialized (
  select * from admitted where (run_id in (select run_id from inserted)) is true
),
specs as (
  insert into run_specs (run_id, spec) select run_id, spec from made
),
queued as (
  insert into run_queue (shape_id, priority, pos, run_id)
  select i.shape_id, i.priority, i.queue_pos, i.run_id
  from inserted i join owners o using (owner_id)
  -- With a holding limit, release_runs decides who may queue.
  where coalesce(o.holding_limit, $18::int) is null
),
events as (
  insert into run_events (run_id, seq, event_time, epoch, type, message, detail, feed_pos)
  select run_id, 1, now, 0, 'CREATED', message, '', (select max(feed_pos) from inserted) from made
),
requests as (
  insert into create_requests (owner_id, request_id, request_hash, run_id)
  select owner_id, request_id, request_hash, run_id from made
),
counted as (
  update owners set active = active + c.admitted_count
  from (select owner_id, count(*) as admitted_count from inserted group by owner_id) c
  where owners.owner_id = c.owner_id
)
select i.ordinal,
       case
         when r.same then 'REPLAYED'
         when r.run_id is not null then 'REQUEST_ID_REUSED'
         when c.ordinal is not null then 'NAME_TAKEN'
         when f.ordinal is not null then 'MODEL_TAKEN'
         when n.ordinal is not null then 'ADMITTED'
         when a.run_id is not null then 'NAME_RACE'
         else 'QUOTA_REACHED'
       end as outcome,
       coalesce(r.run_id, n.run_id) as run_id,
       coalesce(k.active_limit, 0) as active_limit,
       coalesce(k.active, 0) as active,
       a.now as create_time,
       e.uid as experiment_uid
from input i
left join replayed r using (ordinal)
left join clashing c using (ordinal)
left join foreign_models f using (ordinal)
left join ranked k using (ordinal)
left join admitted a using (ordinal)
left join made n using (ordinal)
left join (select * from known_experiments union all select * from made_experiments) e
  on (e.workspace_id, e.path) = (a.workspace_id, a.experiment_path)
order by i.ordinal

-- name: find_refused
-- Creates of owners who have no slot free as things stand, but for those that admit_runs answers before it looks at the
-- quota. One row for each; nothing is locked.
select i.ordinal, i.owner_id, o.active, coalesce(o.active_limit, $6::int) as active_limit
from unnest($1::bigint[], $2::bigint[], $3::uuid[], $4::text[], $5::text[])
  with ordinality as i(workspace_id, owner_id, request_id, name, register_to, ordinal)
join owners o using (owner_id)
where o.active >= coalesce(o.active_limit, $6::int)
  and not exists (select from create_requests r where (r.owner_id, r.request_id) = (i.owner_id, i.request_id))
  and not exists (select from runs where (runs.workspace_id, runs.name) = (i.workspace_id, i.name))
  and not exists (
    select from registered_models m
    where (m.workspace_id, m.name) = (i.workspace_id, i.register_to) and m.owner_id <> i.owner_id)

-- name: quota_holders
-- The oldest runs that hold the quota of these owners, so many of each.
select i.owner_id, r.name
from unnest($1::bigint[]) as i(owner_id)
cross join lateral (
  select name from runs where runs.owner_id = i.owner_id and end_time is null and state <> 'PAUSED'
  order by run_id limit $2::int
) r

-- name: release_runs
-- Queues the next runs of owners that have a holding limit, as many as are free of it, in the order of priority and
-- arrival; those that are to wait before their next attempt not before that. The owners are locked by this transaction.
-- What is queued or held is counted, not kept in a counter: an owner has few active runs, and a limit may be set at any
-- time.
with limited as (
  -- One whose limit was taken away may have everything.
  select owner_id, coalesce(holding_limit, $2::int, 2147483647) as holding_limit from owners
  where owner_id = any($1::bigint[])
),
active as materialized (
  select r.owner_id, r.run_id, r.shape_id, r.priority, r.queue_pos,
         r.state = 'PENDING' and not exists (
           select from run_queue q where (q.shape_id, q.priority, q.pos) = (r.shape_id, r.priority, r.queue_pos))
           as waits_outside,
         coalesce(r.retry_time <= clock_timestamp(), true) as is_due
  from runs r join limited using (owner_id)
  where r.end_time is null and r.state <> 'PAUSED'
),
released as (select owner_id, count(*) filter (where not waits_outside) as released_count from active group by owner_id),
waiting as (
  select *, row_number() over (partition by owner_id order by priority, queue_pos) as place from active
  where waits_outside and is_due
)
insert into run_queue (shape_id, priority, pos, run_id)
select w.shape_id, w.priority, w.queue_pos, w.run_id
from waiting w join limited using (owner_id) join released using (owner_id)
where w.place <= limited.holding_limit - released.released_count

-- name: resume_run
-- Admits a paused run again, whose owner and row are locked, if its owner may have one more. It waits behind what came
-- before; with a holding limit release_runs decides when it may queue.
with counted as (
  update owners o set active = o.active + 1
  from runs r
  where r.run_id = $1::bigint and r.state = 'PAUSED' and o.owner_id = r.owner_id
    and o.active < coalesce(o.active_limit, $2::int)
  returning o.owner_id, coalesce(o.holding_limit, $3::int) is null as may_queue
),
moved as (
  update runs r set
    state = 'PENDING',
    queue_pos = nextval('queue_positions'),
    last_seq = r.last_seq + 1,
    feed_pos = greatest(r.feed_pos, (select feed_position())),
    state_reason = '',
    paused_duration = r.paused_duration + (clock_timestamp() - r.pause_time),
    pause_time = null,
    resume_time = case when r.start_time is not null then clock_timestamp() end,
    update_time = greatest(r.update_time, clock_timestamp())
  from counted where r.run_id = $1::bigint
  returning r.run_id, r.last_seq, r.feed_pos, r.update_time, r.shape_id, r.priority, r.queue_pos, counted.may_queue
),
events as (
  insert into run_events (run_id, seq, event_time, epoch, type, message, detail, feed_pos)
  select run_id, last_seq, update_time, 0, 'RESUME_REQUESTED', $4::text, '', feed_pos from moved
),
queued as (
  insert into run_queue (shape_id, priority, pos, run_id)
  select shape_id, priority, queue_pos, run_id from moved where may_queue
)
select o.owner_id, o.active, coalesce(o.active_limit, $2::int) as active_limit, exists (select from moved) as admitted
from runs r join owners o using (owner_id) where r.run_id = $1::bigint

-- name: owners_to_release
-- Owners with a holding limit, and owners of runs whose time before the next attempt is over.
select owner_id from owners
where (coalesce(holding_limit, $1::int) is not null and active > 0) or owner_id in (
  select r.owner_id from runs r
  where r.state = 'PENDING' and r.end_time is null and r.retry_time <= clock_timestamp() and not exists (
    select from run_queue q where (q.shape_id, q.priority, q.pos) = (r.shape_id, r.priority, r.queue_pos)))
order by owner_id for no key update

-- name: stranded_owners
-- Owners without a holding limit that still have a run waiting outside the queue: their limit was taken away.
select owner_id from owners o
where coalesce(holding_limit, $1::int) is null and active > 0 and exists (
  select from runs r
  where r.owner_id = o.owner_id and r.state = 'PENDING' and r.end_time is null and r.retry_time is null and not exists (
    select from run_queue q where (q.shape_id, q.priority, q.pos) = (r.shape_id, r.priority, r.queue_pos)))
order by owner_id for no key update of o

-- name: delete_old_create_requests
-- The oldest of those that are older than $1 seconds, at most $2 of them.
delete from create_requests where ctid = any(array(
  select ctid from create_requests where create_time < clock_timestamp() - make_interval(secs => $1::bigint)
  order by create_time limit $2::int))

-- name: recount_active
-- Owners whose counter differs from the truth. Always none; exported as a metric.
select o.owner_id, o.active, count(r.run_id) as counted
from owners o left join runs r on r.owner_id = o.owner_id
  and r.end_time is null and r.state <> 'PAUSED'
group by o.owner_id having o.active <> count(r.run_id)
