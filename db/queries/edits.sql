-- name: read_run_for_edit
-- What a change is decided on; lock_runs has locked the row.
select state, last_seq, update_time, priority, max_retries,
       coalesce(extract(epoch from max_run_time), 0)::bigint as max_run_seconds,
       coalesce(extract(epoch from max_queue_time), 0)::bigint as max_queue_seconds, delete_time is not null as deleted
from runs where run_id = $1::bigint

-- name: update_run
-- Writes the labels and how the run is scheduled. With $6, a message, the change is an event; a run that waits moves to
-- its new lane and keeps its place there.
with moved as (
  update runs set priority = $2::smallint, max_retries = $3::int,
                  max_run_time = make_interval(secs => nullif($4::bigint, 0)),
                  max_queue_time = make_interval(secs => nullif($8::bigint, 0)),
                  labels = coalesce($5::jsonb, labels),
                  last_seq = last_seq + case when $6::text = '' then 0 else 1 end,
                  feed_pos = case when $6::text = '' then feed_pos else greatest(feed_pos, (select feed_position())) end,
                  update_time = greatest(update_time + interval '1 microsecond', clock_timestamp())
  where run_id = $1::bigint
  returning run_id, last_seq, feed_pos, update_time, shape_id, priority, queue_pos
),
event as (
  insert into run_events (run_id, seq, event_time, epoch, type, message, detail, feed_pos)
  select run_id, last_seq, update_time, 0, 'UPDATED', $6::text, '', feed_pos from moved where $6::text <> ''
)
update run_queue q set priority = m.priority from moved m
where (q.shape_id, q.priority, q.pos) = (m.shape_id, $7::smallint, m.queue_pos) and q.priority <> m.priority

-- name: delete_run
update runs set delete_time = clock_timestamp(), update_time = greatest(update_time, clock_timestamp())
where run_id = $1::bigint and delete_time is null

-- name: get_workspace
select name, share_runs, create_time, coalesce(extract(epoch from event_retention), 0)::bigint as event_seconds,
       coalesce(extract(epoch from metric_retention), 0)::bigint as metric_seconds,
       coalesce(extract(epoch from log_retention), 0)::bigint as log_seconds
from workspaces where workspace_id = $1::bigint

-- name: update_workspace
-- Null leaves a value as it is, 0 seconds is for good.
update workspaces set
  share_runs = coalesce($2::bool, share_runs),
  event_retention = make_interval(secs => nullif(coalesce($3::bigint, extract(epoch from event_retention)), 0)),
  metric_retention = make_interval(secs => nullif(coalesce($4::bigint, extract(epoch from metric_retention)), 0)),
  log_retention = make_interval(secs => nullif(coalesce($5::bigint, extract(epoch from log_retention)), 0))
where workspace_id = $1::bigint
