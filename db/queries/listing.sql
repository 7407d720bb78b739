-- name: list_runs_of_owners
-- One page of the runs of some owners. Each owner's newest are read from an index and merged; pages go on from the key
-- of the last row of the page before, never by an offset. $9: newest first, else oldest first; the other half is not
-- executed. The filters stand the same way in every listing.
select page.run_id, page.create_time from unnest($1::bigint[]) as o(owner_id)
cross join lateral (
  (select run_id, create_time from runs
   where owner_id = o.owner_id and $9::bool and (create_time, run_id) < ($2::timestamptz, $3::bigint)
     and create_time < $4::timestamptz and create_time > $5::timestamptz
     and (cardinality($6::run_state[]) = 0 or state = any($6::run_state[]))
     and ($7::jsonb = '{}' or labels @> $7::jsonb) and delete_time is null
   order by create_time desc, run_id desc limit $8::int)
  union all
  (select run_id, create_time from runs
   where owner_id = o.owner_id and not $9::bool and (create_time, run_id) > ($2::timestamptz, $3::bigint)
     and create_time < $4::timestamptz and create_time > $5::timestamptz
     and (cardinality($6::run_state[]) = 0 or state = any($6::run_state[]))
     and ($7::jsonb = '{}' or labels @> $7::jsonb) and delete_time is null
   order by create_time, run_id limit $8::int)
) page
order by case when $9::bool then page.create_time end desc, case when $9::bool then page.run_id end desc,
         page.create_time, page.run_id
limit $8::int

-- name: list_runs_of_experiment
-- $10: only those of these owners; null for all.
(select run_id, create_time from runs
 where experiment_id = $1::bigint and $9::bool and (create_time, run_id) < ($2::timestamptz, $3::bigint)
   and create_time < $4::timestamptz and create_time > $5::timestamptz
   and (cardinality($6::run_state[]) = 0 or state = any($6::run_state[]))
   and ($7::jsonb = '{}' or labels @> $7::jsonb) and delete_time is null
   and ($10::bigint[] is null or owner_id = any($10::bigint[]))
 order by create_time desc, run_id desc limit $8::int)
union all
(select run_id, create_time from runs
 where experiment_id = $1::bigint and not $9::bool and (create_time, run_id) > ($2::timestamptz, $3::bigint)
   and create_time < $4::timestamptz and create_time > $5::timestamptz
   and (cardinality($6::run_state[]) = 0 or state = any($6::run_state[]))
   and ($7::jsonb = '{}' or labels @> $7::jsonb) and delete_time is null
   and ($10::bigint[] is null or owner_id = any($10::bigint[]))
 order by create_time, run_id limit $8::int)

-- name: list_runs_of_source
-- The runs that started from what a run has left. $10 and $11: only those of these owners, of this experiment; null for
-- all.
(select run_id, create_time from runs
 where source_run_id = $1::bigint and $9::bool and (create_time, run_id) < ($2::timestamptz, $3::bigint)
   and create_time < $4::timestamptz and create_time > $5::timestamptz
   and (cardinality($6::run_state[]) = 0 or state = any($6::run_state[]))
   and ($7::jsonb = '{}' or labels @> $7::jsonb) and delete_time is null
   and ($10::bigint[] is null or owner_id = any($10::bigint[]))
   and ($11::bigint is null or experiment_id = $11::bigint)
 order by create_time desc, run_id desc limit $8::int)
union all
(select run_id, create_time from runs
 where source_run_id = $1::bigint and not $9::bool and (create_time, run_id) > ($2::timestamptz, $3::bigint)
   and create_time < $4::timestamptz and create_time > $5::timestamptz
   and (cardinality($6::run_state[]) = 0 or state = any($6::run_state[]))
   and ($7::jsonb = '{}' or labels @> $7::jsonb) and delete_time is null
   and ($10::bigint[] is null or owner_id = any($10::bigint[]))
   and ($11::bigint is null or experiment_id = $11::bigint)
 order by create_time, run_id limit $8::int)

-- name: list_runs_of_workspace
(select run_id, create_time from runs
 where workspace_id = $1::bigint and $9::bool and (create_time, run_id) < ($2::timestamptz, $3::bigint)
   and create_time < $4::timestamptz and create_time > $5::timestamptz
   and (cardinality($6::run_state[]) = 0 or state = any($6::run_state[]))
   and ($7::jsonb = '{}' or labels @> $7::jsonb) and delete_time is null
 order by create_time desc, run_id desc limit $8::int)
union all
(select run_id, create_time from runs
 where workspace_id = $1::bigint and not $9::bool and (create_time, run_id) > ($2::timestamptz, $3::bigint)
   and create_time < $4::timestamptz and create_time > $5::timestamptz
   and (cardinality($6::run_state[]) = 0 or state = any($6::run_state[]))
   and ($7::jsonb = '{}' or labels @> $7::jsonb) and delete_time is null
 order by create_time, run_id limit $8::int)

-- name: list_these_runs
-- Of few runs that are known already, by name or because their labels are rare. $10 to $12: only those of these
-- owners, of this experiment, started from this run; null for all.
select run_id, create_time from runs
where run_id = any($1::bigint[])
  and case when $9::bool then (create_time, run_id) < ($2::timestamptz, $3::bigint)
           else (create_time, run_id) > ($2::timestamptz, $3::bigint) end
  and create_time < $4::timestamptz and create_time > $5::timestamptz
  and (cardinality($6::run_state[]) = 0 or state = any($6::run_state[]))
  and ($7::jsonb = '{}' or labels @> $7::jsonb) and delete_time is null
  and ($10::bigint[] is null or owner_id = any($10::bigint[]))
  and ($11::bigint is null or experiment_id = $11::bigint)
  and ($12::bigint is null or source_run_id = $12::bigint)
order by case when $9::bool then create_time end desc, case when $9::bool then run_id end desc, create_time, run_id
limit $8::int

-- name: runs_with_labels
-- The runs of a workspace that have these labels, at most $3 of them: where there are as many, the labels are common,
-- and reading in order finds a page of them sooner.
select run_id from runs where labels @> $2::jsonb and labels <> '{}' and workspace_id = $1::bigint limit $3::int

-- name: find_owners
select owner_id from owners where workspace_id = $1::bigint and email = any($2::text[])

-- name: find_experiment
-- By path or uid, whether or not the caller sees a run in it.
select experiment_id from experiments
where workspace_id = $1::bigint
  and (path = $2::text or uid = case when $2::text ~ '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$'
                                     then $2::text::uuid end)

-- name: list_experiments_of_workspace
select experiment_id from experiments
where workspace_id = $1::bigint and experiment_id < $2::bigint order by experiment_id desc limit $3::int

-- name: list_experiments_of_owner
-- Those in which an owner has a run: from one to the next by the index, however many runs are in each.
with recursive step as (
  (select experiment_id from runs where owner_id = $1::bigint and experiment_id < $2::bigint and delete_time is null
   order by experiment_id desc limit 1)
  union all
  select (select r.experiment_id from runs r
          where r.owner_id = $1::bigint and r.experiment_id < step.experiment_id and r.delete_time is null
          order by r.experiment_id desc limit 1)
  from step where step.experiment_id is not null
)
select experiment_id from step where experiment_id is not null limit $3::int

-- name: get_experiments
-- Experiments with what the caller sees in them: all of it, or with $3 one owner's.
select e.experiment_id, e.path, e.uid, w.name as workspace, e.create_time, c.*, l.name as latest_run,
       l.create_time as latest_run_create_time
from unnest($1::bigint[]) with ordinality as i(experiment_id, ordinal)
join experiments e using (experiment_id)
join workspaces w using (workspace_id)
cross join lateral (
  select count(*) as run_count,
         count(*) filter (where r.state in ('PENDING', 'QUEUED', 'STARTING', 'RUNNING', 'TERMINATING')) as active_count,
         count(*) filter (where r.state = 'PAUSED') as paused_count,
         count(*) filter (where r.state = 'COMPLETED') as completed_count,
         count(*) filter (where r.state = 'FAILED') as failed_count,
         count(*) filter (where r.state = 'STOPPED') as stopped_count
  from runs r
  where r.experiment_id = e.experiment_id and r.delete_time is null and ($2::bool or r.owner_id = $3::bigint)
) c
left join lateral (
  select r.name, r.create_time from runs r
  where r.experiment_id = e.experiment_id and r.delete_time is null and ($2::bool or r.owner_id = $3::bigint)
  order by r.create_time desc, r.run_id desc limit 1
) l on true
order by i.ordinal

-- name: cancelable_runs
-- The oldest runs of an experiment that are not terminal and not being canceled yet, all or one owner's.
select run_id from runs
where experiment_id = $1::bigint and ($2::bool or owner_id = $3::bigint)
  and end_time is null and stop_requested is distinct from 'CANCEL'
order by run_id limit $4::int
