-- compatible
-- A worker that asks for runs is looked up among the leases, and so is one that comes back; neither may cost more with
-- the leases of all others. worker_id never changes, so a heartbeat still writes no index.
create index leases_of_worker on leases (worker_id);

-- As before. A function in SQL is planned anew by every statement that calls it, which takes ten times as long as what
-- it does; this one is planned once a session.
create or replace function feed_position() returns bigint
  language plpgsql volatile
  as $$ begin return (select feed_base + pg_current_xact_id()::text::bigint from public.installation); end $$;
