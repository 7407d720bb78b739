-- name: retire_event_partition
select retire_event_partition()

-- name: runs_past_retention
-- Runs of one workspace whose logs, or with $1 whose metrics, are past its retention and not yet deleted, the longest
-- ended first. Those that ended at the same time come together.
with due as (
  select w.workspace_id, w.name, kept.swept, kept.until
  from workspaces w cross join lateral (
    select coalesce(case when $1::bool then w.metrics_swept_time else w.logs_swept_time end, '-infinity') as swept,
           clock_timestamp() - case when $1::bool then w.metric_retention else w.log_retention end as until
  ) kept
  where exists (select from runs where runs.workspace_id = w.workspace_id and runs.end_time > kept.swept
                and runs.end_time <= kept.until)
  order by w.workspace_id limit 1
)
select due.workspace_id, due.name as workspace, r.name as run, r.end_time
from due cross join lateral (
  select runs.name, runs.end_time from runs
  where runs.workspace_id = due.workspace_id and runs.end_time > due.swept and runs.end_time <= due.until
  order by runs.end_time fetch first ($2::int) rows with ties
) r
order by r.end_time

-- name: retention_overdue
-- How long the run whose logs, or with $1 whose metrics, should have been deleted first, is past its retention; 0 for none.
select coalesce(max(extract(epoch from clock_timestamp() - kept.duration - r.end_time)), 0)::float8
from workspaces w cross join lateral (
  select coalesce(case when $1::bool then w.metrics_swept_time else w.logs_swept_time end, '-infinity') as swept,
         case when $1::bool then w.metric_retention else w.log_retention end as duration
) kept cross join lateral (
  select end_time from runs where runs.workspace_id = w.workspace_id and runs.end_time > kept.swept
  order by end_time limit 1
) r
where r.end_time <= clock_timestamp() - kept.duration

-- name: mark_logs_swept
update workspaces set logs_swept_time = greatest(logs_swept_time, $2::timestamptz) where workspace_id = $1::bigint

-- name: mark_metrics_swept
update workspaces set metrics_swept_time = greatest(metrics_swept_time, $2::timestamptz) where workspace_id = $1::bigint

-- name: past_retention
-- Whether a run's logs, or with $2 its metrics, may have been deleted.
select coalesce(r.end_time <= case when $2::bool then greatest(w.metrics_swept_time, clock_timestamp() - w.metric_retention)
                                   else greatest(w.logs_swept_time, clock_timestamp() - w.log_retention) end, false)
from runs r join workspaces w using (workspace_id) where r.run_id = $1::bigint
