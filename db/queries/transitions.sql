-- name: lock_owners_of_runs
-- Owners before runs, each in the order of their ids: the one order in which rows are locked.
select owner_id from owners
where owner_id in (select owner_id from runs where run_id = any($1::bigint[]))
order by owner_id for no key update

-- name: lock_runs
-- A statement of its own: one that locked and read at once would wait for the lock and then read what was before.
select run_id from runs where run_id = any($1::bigint[]) order by run_id for no key update

-- name: lock_leases
-- After the runs, for what may end an attempt: a renewal that is being made now comes before or after the decision.
select run_id from leases where run_id = any($1::bigint[]) order by run_id for no key update

-- name: read_locked_runs
-- The rows that a decision is made on, with their lease, after their locks; one for each attempt with $2, else for the
-- newest. Expiry is judged by the clock at this moment and not by the transaction's beginning.
select r.run_id, r.owner_id, coalesce(o.holding_limit, $3::int) is not null as has_holding_limit, r.state, r.epoch, r.last_seq, coalesce(r.stop_requested::text, '') as stop_requested,
       r.max_retries,
       coalesce(l.epoch, 0) as lease_epoch, coalesce(l.session_id, 0) as session_id,
       coalesce(l.expire_time < clock_timestamp(), false) as lease_expired,
       coalesce(a.epoch, 0) as attempt_epoch, coalesce(a.worker_id, 0) as worker_id,
       coalesce(a.attribution::text, '') as attribution, coalesce(a.worker_lost, false) as worker_lost,
       coalesce(a.saved, false) as saved, coalesce(a.acked_report, 0) as acked_report,
       coalesce(extract(epoch from coalesce(a.last_renew_time, case when a.epoch = l.epoch then l.renew_time end)
                                   - a.create_time), 0)::float8 as lived_seconds,
       exists (select from checkpoints c where c.run_id = r.run_id) as has_checkpoint,
       exists (select from checkpoints c where c.run_id = r.run_id offset 1) as has_older_checkpoint,
       coalesce(r.start_time + r.max_run_time + r.paused_duration
                  + case when r.state = 'PENDING' then coalesce(clock_timestamp() - r.resume_time, interval '0')
                         else interval '0' end < clock_timestamp(), false) as overdue,
       coalesce(r.state = 'PENDING' and r.start_time is null
                  and r.create_time + r.max_queue_time + r.paused_duration < clock_timestamp(), false) as queue_overdue,
       r.registered_model_id is not null as registers
from runs r
join owners o using (owner_id)
left join leases l using (run_id)
left join run_attempts a on a.run_id = r.run_id and (a.epoch = r.epoch or $2::bool)
where r.run_id = any($1::bigint[])
order by r.run_id, a.epoch

-- name: apply_transitions
-- The one statement that ends or changes where runs stand, for rows that lock_runs has locked: state, event, lease,
-- attempt, queue and counter move together. $5 tells whether the attempt ends with it.
with input as materialized (
  select * from unnest(
      $1::bigint[], $2::run_state[], $3::event_type[], $4::text[], $5::bool[], $6::text[], $7::bytea[], $8::bytea[],
      $9::text[], $10::bool[], $11::float8[], $12::text[], $13::bool[])
    as i(run_id, new_state, event_type, message, ends_attempt, stop_requested, detail, failure,
         attribution, worker_lost, retry_seconds, state_reason, frees_slot)
),
moved as (
  update runs r set
    state = i.new_state,
    stop_requested = nullif(i.stop_requested, '')::stop_kind,
    last_seq = r.last_seq + 1,
    feed_pos = greatest(r.feed_pos, (select feed_position())),
    retry_time = case when i.retry_seconds > 0 then clock_timestamp() + make_interval(secs => i.retry_seconds) end,
    state_reason = i.state_reason,
    failure = case when i.new_state = 'FAILED' then i.failure end,
    estimated_end_time = case when i.new_state = r.state then r.estimated_end_time end,
    update_time = greatest(r.update_time, clock_timestamp()),
    end_time = case when i.new_state in ('COMPLETED', 'FAILED', 'STOPPED')
                    then greatest(r.update_time, clock_timestamp()) end,
    pause_time = case when i.new_state = 'PAUSED' then clock_timestamp() end,
    -- The wait after a pause, where another pause ends it; a lease ends it otherwise.
    paused_duration = r.paused_duration
      + case when i.new_state = 'PAUSED' and r.state = 'PENDING'
             then coalesce(clock_timestamp() - r.resume_time, interval '0') else interval '0' end,
    resume_time = null
  from input i where r.run_id = i.run_id
  -- With what the input says of each: joining the two again would compare every run with every other.
  returning r.run_id, r.owner_id, r.epoch, r.last_seq, r.update_time, r.shape_id, r.priority, r.queue_pos, r.state,
            r.retry_time, r.feed_pos, i.event_type, i.message, i.detail, i.ends_attempt, i.attribution, i.worker_lost,
            i.frees_slot
),
events as (
  insert into run_events (run_id, seq, event_time, epoch, type, message, detail, feed_pos)
  select run_id, last_seq, update_time, epoch, event_type, message, detail, feed_pos from moved
),
ended_leases as (
  delete from leases l using moved m where l.run_id = m.run_id and m.ends_attempt
),
ended_attempts as (
  update run_attempts a set
    end_time = m.update_time,
    end_reason = m.message,
    attribution = nullif(m.attribution, '')::attribution,
    worker_lost = m.worker_lost,
    last_renew_time = (select l.renew_time from leases l where l.run_id = m.run_id)
  from moved m
  where a.run_id = m.run_id and a.epoch = m.epoch and a.end_time is null and m.ends_attempt
),
left_queue as (
  delete from run_queue q using moved m
  where (q.shape_id, q.priority, q.pos) = (m.shape_id, m.priority, m.queue_pos) and m.state <> 'PENDING'
),
entered_queue as (
  insert into run_queue (shape_id, priority, pos, run_id)
  -- One that is to wait before its next attempt is queued by release_runs.
  select shape_id, priority, queue_pos, run_id from moved where state = 'PENDING' and retry_time is null
),
freed as (
  update owners o set active = o.active - f.freed_count
  from (select owner_id, count(*) as freed_count from moved where frees_slot group by owner_id) f
  where o.owner_id = f.owner_id
)
select run_id, last_seq, state from moved

-- name: count_paused
-- Runs of this run's owner, who is locked, that are paused or being paused.
select count(*) from runs
where owner_id = (select owner_id from runs where run_id = $1::bigint) and (pause_time is not null or stop_requested = 'PAUSE')

-- name: store_reports
-- Appends events to runs that lock_runs has locked, and brings their rows up to date. Arrays $1..$11 are one per run,
-- the rest one per event with its number already given.
with input as materialized (
  select * from unnest(
      $1::bigint[], $2::bigint[], $3::run_state[], $4::bigint[], $5::bytea[], $6::float8[], $7::bool[], $8::bool[],
      $9::bigint[], $10::jsonb[], $11::bigint[])
    as i(run_id, epoch, new_state, last_seq, progress, remaining_seconds, sets_estimate, starts, acked_report, links,
         metric_bytes)
),
moved as (
  update runs r set
    state = i.new_state,
    last_seq = i.last_seq,
    feed_pos = case when i.last_seq = r.last_seq then r.feed_pos
                    else greatest(r.feed_pos, (select feed_position())) end,
    progress = case when length(i.progress) > 0 then i.progress else r.progress end,
    estimated_end_time = case when not i.sets_estimate then r.estimated_end_time
                              when i.remaining_seconds >= 0
                              then clock_timestamp() + make_interval(secs => i.remaining_seconds) end,
    start_time = case when i.starts then coalesce(r.start_time, clock_timestamp()) else r.start_time end,
    -- Up to the first start it was taken off the time in the queue, from there on it is off max_run_time.
    paused_duration = case when i.starts and r.start_time is null then interval '0' else r.paused_duration end,
    resume_time = case when i.starts then null else r.resume_time end,
    links = coalesce(i.links, r.links),
    update_time = greatest(r.update_time, clock_timestamp())
  from input i where r.run_id = i.run_id
  returning r.run_id, r.epoch, r.update_time, r.feed_pos
),
attempts as (
  update run_attempts a set
    acked_report = i.acked_report,
    metric_bytes = greatest(a.metric_bytes, i.metric_bytes),
    saved = a.saved or i.run_id = any($12::bigint[]),
    start_time = case when i.starts then coalesce(a.start_time, clock_timestamp()) else a.start_time end
  from input i where a.run_id = i.run_id and a.epoch = i.epoch
),
saved as (
  insert into checkpoints (run_id, name, epoch, step, path, detail)
  select * from unnest($12::bigint[], $13::text[], $14::bigint[], $15::bigint[], $16::text[], $17::bytea[])
  on conflict (run_id, name) do update set
    epoch = excluded.epoch, step = excluded.step, path = excluded.path, detail = excluded.detail,
    create_time = excluded.create_time
)
insert into run_events (run_id, seq, event_time, epoch, type, message, detail, feed_pos)
select e.run_id, e.seq, m.update_time, m.epoch, e.type, e.message, e.detail, m.feed_pos
from unnest($18::bigint[], $19::bigint[], $20::event_type[], $21::text[], $22::bytea[])
  as e(run_id, seq, type, message, detail)
join moved m using (run_id)

-- name: trim_checkpoints
-- Takes from the list what the worker will delete: all but the newest so many.
delete from checkpoints c
using (
  select k.run_id, k.name, row_number() over (partition by k.run_id order by k.step desc) as place, r.checkpoints_kept
  from checkpoints k join runs r using (run_id)
  where k.run_id = any($1::bigint[]) and r.checkpoints_kept > 0
) old
where c.run_id = old.run_id and c.name = old.name and old.place > old.checkpoints_kept

-- name: drop_newest_checkpoints
-- Takes damaged ones from the list; the files stay.
delete from checkpoints c
using (
  select distinct on (run_id) run_id, name from checkpoints where run_id = any($1::bigint[]) order by run_id, step desc
) newest
where c.run_id = newest.run_id and c.name = newest.name

-- name: attempt_end
-- Whether an attempt's end was stored before.
select a.end_time is not null as ended, r.state
from run_attempts a join runs r using (run_id) where a.run_id = $1::bigint and a.epoch = $2::bigint
