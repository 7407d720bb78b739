-- compatible
create index runs_ended_of_workspace on runs (workspace_id, end_time) where end_time is not null;

-- How long what runs leave is kept after their end, by workspace. Null: for good.
alter table workspaces
  add column event_retention interval,
  add column metric_retention interval,
  add column log_retention interval,
  -- The files of runs that ended up to here are deleted.
  add column metrics_swept_time timestamptz,
  add column logs_swept_time timestamptz,
  add constraint workspaces_retention_check check (
    least(event_retention, metric_retention, log_retention) >= interval '1 hour');

alter table installation
  -- Events up to this position may have been dropped.
  add column feed_dropped bigint not null default 0;

-- Four partitions ahead: so many runs may be made between two looks.
create or replace function ensure_event_partitions() returns int
  language plpgsql security definer set search_path = pg_catalog, public as $$
declare
  width constant bigint := 100000;
  newest bigint;
  made int := 0;
  part bigint;
begin
  select last_value into newest from public.runs_run_id_seq;
  for part in newest / width .. newest / width + 4 loop
    if to_regclass(format('public.run_events_%s', part)) is null then
      execute format('create table if not exists public.run_events_%s partition of public.run_events
                        for values from (%s) to (%s) with (fillfactor = 100)',
                     part, part * width, (part + 1) * width);
      made := made + 1;
    end if;
  end loop;
  return made;
end $$;

-- Whether a run of this partition of events has not ended, or is not past the retention of its workspace.
create function is_needed_event_partition(part bigint) returns boolean
  language sql stable set search_path = pg_catalog, public as $$
  select exists (
    select from public.runs r join public.workspaces w using (workspace_id)
    where r.run_id >= part * 100000 and r.run_id < (part + 1) * 100000
      and (r.end_time is null or w.event_retention is null or r.end_time > clock_timestamp() - w.event_retention))
$$;

-- Drops one partition of events that nobody needs any more, and returns whether it did. Where a workspace has a
-- retention, a partition takes no more runs a week after its first, so that few runs do not keep one for years.
--
-- Both under a lock of run_events that every create takes before it takes a number, and before it locks runs: whoever has
-- it sees all runs of a partition that is closed, and no writer waits for it while it waits for them. Who does not get it
-- at once tries again another time.
create function retire_event_partition() returns boolean
  language plpgsql security definer set search_path = pg_catalog, public set lock_timeout = '200ms' as $$
declare
  width constant bigint := 100000;
  newest bigint;
  part bigint;
begin
  if not exists (select from public.workspaces where event_retention is not null) then
    return false;
  end if;
  select last_value / width into newest from public.runs_run_id_seq;
  if exists (select from (select create_time from public.runs where run_id >= newest * width order by run_id limit 1) first
             where first.create_time < clock_timestamp() - interval '7 days') then
    lock table only public.run_events in access exclusive mode;
    if (select last_value / width from public.runs_run_id_seq) = newest then
      perform setval('public.runs_run_id_seq', (newest + 1) * width, false);
    end if;
    return false;
  end if;
  for part in
    select substring(c.relname from '^run_events_(\d+)$')::bigint
    from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = 'public.run_events'::regclass order by 1
  loop
    exit when part >= newest;
    continue when public.is_needed_event_partition(part);
    lock table only public.run_events in access exclusive mode;
    -- Somebody else may have dropped it, or a retention have become longer: what is said from now on comes after.
    perform from public.workspaces for share;
    if to_regclass(format('public.run_events_%s', part)) is null or public.is_needed_event_partition(part) then
      return false;
    end if;
    -- Each that held something raises it: who knows of an earlier one does not know of this.
    execute format('update public.installation set feed_dropped = greatest(feed_dropped + 1, dropped.last)
                    from (select max(feed_pos) as last from public.run_events_%s) dropped
                    where dropped.last is not null', part);
    execute format('drop table public.run_events_%s', part);
    return true;
  end loop;
  return false;
end $$;
