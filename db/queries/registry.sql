-- name: lock_models_of_runs
-- After the runs, in the order of their ids: versions are numbered one after the other.
select model_id from registered_models
where model_id in (select registered_model_id from runs where run_id = any($1::bigint[]))
order by model_id for no key update

-- name: register_versions
-- The next versions of the models that these completed runs register; lock_models_of_runs has locked the models.
with input as materialized (
  select i.*, r.registered_model_id as model_id,
         row_number() over (partition by r.registered_model_id order by i.run_id) as place,
         count(*) over (partition by r.registered_model_id) as added
  from unnest($1::bigint[], $2::text[], $3::bigint[], $4::text[]) as i(run_id, checkpoint, size_bytes, manifest_sha256)
  join runs r using (run_id)
  where r.registered_model_id is not null
),
counted as (
  update registered_models m set last_version = m.last_version + a.added
  from (select distinct model_id, added from input) a
  where m.model_id = a.model_id
  returning m.model_id, m.last_version
)
insert into model_versions (model_id, version, run_id, checkpoint, size_bytes, manifest_sha256)
select i.model_id, c.last_version - i.added + i.place, i.run_id, i.checkpoint, i.size_bytes, i.manifest_sha256
from input i join counted c using (model_id)

-- name: model_owner
-- Who a name belongs to, whether or not anything is registered under it yet.
select owner_id from registered_models where workspace_id = $1::bigint and name = $2::text

-- name: find_registered_model
select model_id from registered_models
where workspace_id = $1::bigint and name = $2::text and last_version > 0 and ($3::bool or owner_id = $4::bigint)

-- name: list_registered_models_of_workspace
select model_id from registered_models
where workspace_id = $1::bigint and model_id < $2::bigint and last_version > 0 order by model_id desc limit $3::int

-- name: list_registered_models_of_owner
select model_id from registered_models
where owner_id = $1::bigint and model_id < $2::bigint and last_version > 0 order by model_id desc limit $3::int

-- name: get_registered_models
select m.model_id, w.name as workspace, o.email, m.name, m.last_version, m.create_time
from unnest($1::bigint[]) with ordinality as i(model_id, ordinal)
join registered_models m using (model_id)
join workspaces w using (workspace_id)
join owners o using (owner_id)
order by i.ordinal

-- name: list_model_versions
-- The newest first.
select v.version, r.name as run, r.model as base_model, v.checkpoint, v.size_bytes, v.manifest_sha256, v.create_time
from model_versions v join runs r using (run_id)
where v.model_id = $1::bigint order by v.version desc limit $2::int

-- name: find_model_version
select r.name from model_versions v join runs r using (run_id) where v.model_id = $1::bigint and v.version = $2::int
