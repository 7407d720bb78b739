-- name: read_feed
-- Events of all runs in the order of their positions, behind a place and below every transaction under way: none can
-- come to stand between them later. What the filter leaves out comes without content and says only how far was read.
-- Where there is nothing, one row with where events may have been dropped up to.
with here as materialized (
  select feed_base + pg_snapshot_xmin(pg_current_snapshot())::text::bigint as horizon, feed_dropped from installation
)
select here.feed_dropped, e.feed_pos, e.run_id, e.seq, e.event_time, e.epoch, e.type, f.run_name is not null as fits,
       case when f.run_name is not null then e.message end as message,
       case when f.run_name is not null then e.detail end as detail,
       f.workspace_id, f.workspace, f.owner_id, f.email, f.experiment, f.experiment_path,
       f.run_name
from here
left join lateral (
  select * from run_events
  where (run_events.feed_pos, run_events.run_id, run_events.seq) > ($1::bigint, $2::bigint, $3::bigint)
    and run_events.feed_pos < here.horizon
  order by run_events.feed_pos, run_events.run_id, run_events.seq limit $4::int
) e on true
left join lateral (
  select r.workspace_id, w.name as workspace, r.owner_id, o.email, x.uid as experiment, x.path as experiment_path,
         r.name as run_name
  from runs r join workspaces w on w.workspace_id = r.workspace_id join owners o on o.owner_id = r.owner_id
  join experiments x on x.experiment_id = r.experiment_id
  where r.run_id = e.run_id and r.delete_time is null
    and ($5::bigint is null or r.workspace_id = $5::bigint) and ($6::bigint is null or r.owner_id = $6::bigint)
    and ($7::text = '' or $7::text in (x.uid::text, x.path)) and (cardinality($8::text[]) = 0 or o.email = any($8::text[]))
    and (cardinality($9::event_type[]) = 0 or e.type = any($9::event_type[]))
) f on true
order by e.feed_pos, e.run_id, e.seq

-- name: feed_end
-- The last event that can be read; 0 without any. And the horizon: no reader has been anywhere at or above it.
with here as materialized (
  select feed_base + pg_snapshot_xmin(pg_current_snapshot())::text::bigint as horizon, feed_dropped from installation
)
select here.horizon, here.feed_dropped, coalesce(e.feed_pos, 0) as feed_pos, coalesce(e.run_id, 0) as run_id,
       coalesce(e.seq, 0) as seq
from here
left join lateral (
  select feed_pos, run_id, seq from run_events where run_events.feed_pos < here.horizon
  order by run_events.feed_pos desc, run_events.run_id desc, run_events.seq desc limit 1
) e on true

-- name: raise_feed_base
-- In a cluster that counts its transactions anew, positions go on behind those that are there.
update installation set feed_base = feed_base + ahead.positions
from (
  select greatest((select max(feed_pos) from run_events),
                  (select max(feed_pos) from runs where end_time is null),
                  (select feed_dropped from installation))
         - (select feed_base from installation) - pg_current_xact_id()::text::bigint + 1 as positions
) ahead
where ahead.positions > 0
