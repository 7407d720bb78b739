-- compatible
-- Where each event stands among those of all runs. A position is the number of the transaction that stored it, or that of
-- the run's event before where this is greater, so that positions of a run never go down. Whoever reads only what is below
-- every transaction under way can be sure that nothing will be put before it later. Events of daemons of the version
-- before get the number of their transaction.
alter table installation
  -- What is added to the numbers of transactions, so that positions go on where they were after a restore into a new
  -- cluster, which counts its transactions anew.
  add column feed_base bigint not null default 0;

create function feed_position() returns bigint
  language sql volatile
  set search_path to 'pg_catalog', 'public'
  as $$ select feed_base + pg_current_xact_id()::text::bigint from public.installation $$;

alter table runs add column feed_pos bigint not null default 0;
alter table run_events add column feed_pos bigint not null default 0;
alter table run_events alter column feed_pos set default feed_position();
create index run_events_feed on run_events (feed_pos, run_id, seq);
