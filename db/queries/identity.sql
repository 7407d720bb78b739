-- name: find_token
-- owner_id is null before the first call of its owner.
select t.workspace_id, w.name as workspace, w.share_runs, o.owner_id, t.email, t.role,
       coalesce(t.worker_name, '') as worker_name
from tokens t join workspaces w using (workspace_id) left join owners o using (workspace_id, email)
where t.token_hash = $1::bytea and t.revoke_time is null
  and (t.expire_time is null or t.expire_time > clock_timestamp())

-- name: ensure_owner
with existing as (select owner_id from owners where workspace_id = $1::bigint and email = $2::text),
made as (
  insert into owners (workspace_id, email) select $1::bigint, $2::text where not exists (select from existing)
  on conflict do nothing returning owner_id
)
select owner_id from existing union all select owner_id from made

-- name: ensure_workspace
with existing as (select workspace_id from workspaces where name = $1::text),
made as (
  insert into workspaces (name) select $1::text where not exists (select from existing)
  on conflict do nothing returning workspace_id
)
select workspace_id from existing union all select workspace_id from made

-- name: create_token
insert into tokens (token_hash, workspace_id, email, role, worker_name, expire_time)
values ($1::bytea, $2::bigint, $3::text, $4::text, nullif($6::text, ''),
        case when $5::bigint > 0 then clock_timestamp() + make_interval(secs => $5::bigint) end)

-- name: revoke_token
update tokens set revoke_time = clock_timestamp() where token_hash = $1::bytea and revoke_time is null

-- name: get_installation
select page_token_key from installation

-- name: make_event_partitions
-- One daemon at a time: of two that see the same partition missing, one would fail to make it.
select ensure_event_partitions() from pg_advisory_xact_lock(x'7061727469746e'::bigint)
