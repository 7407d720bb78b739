-- A witness of every transaction, for the database of a fault campaign only. One sequence numbers what it writes. Rows of
-- one run are numbered in the order of their commits, because whoever writes them holds the lock of the run's row.
create sequence audit_serial;

create table audit_transitions (
  serial bigint primary key default nextval('audit_serial'),
  txid bigint not null default txid_current(),
  run_id bigint not null,
  owner_id bigint not null,
  old_state run_state,
  new_state run_state not null,
  old_epoch bigint,
  new_epoch bigint not null,
  last_seq bigint not null,
  active int not null,            -- Recounted at the commit, with all that is committed then.
  counter int not null,           -- What the owner's row says.
  holding int not null,
  clock timestamptz not null default clock_timestamp()
);

create table audit_events (
  serial bigint primary key default nextval('audit_serial'),
  txid bigint not null default txid_current(),
  run_id bigint not null,
  seq bigint not null,
  epoch bigint not null,
  type event_type not null,
  change text not null            -- INSERT; anything else should never be.
);

create table audit_leases (
  serial bigint primary key default nextval('audit_serial'),
  txid bigint not null default txid_current(),
  run_id bigint not null,
  epoch bigint not null,
  session_id bigint not null,
  change text not null,
  clock timestamptz not null default clock_timestamp()
);

-- The daemon's role has no rights on these tables: the functions are their owner's.
create function audit_transition() returns trigger language plpgsql security definer
set search_path = pg_catalog, public as $$
declare
  counted int;
  held int;
  said int;
begin
  -- One statement, so that all three are of one moment, whoever else commits meanwhile.
  select count(*) filter (where state in ('PENDING', 'QUEUED', 'STARTING', 'RUNNING', 'TERMINATING')),
         count(*) filter (where state in ('QUEUED', 'STARTING', 'RUNNING', 'TERMINATING')),
         (select active from owners where owner_id = new.owner_id)
    into counted, held, said from runs where owner_id = new.owner_id;
  if tg_op = 'INSERT' then
    insert into audit_transitions (run_id, owner_id, new_state, new_epoch, last_seq, active, counter, holding)
    values (new.run_id, new.owner_id, new.state, new.epoch, new.last_seq, counted, said, held);
  else
    insert into audit_transitions (run_id, owner_id, old_state, new_state, old_epoch, new_epoch, last_seq, active,
                                   counter, holding)
    values (new.run_id, new.owner_id, old.state, new.state, old.epoch, new.epoch, new.last_seq, counted, said, held);
  end if;
  return null;
end $$;

-- Deferred: it counts when everything else of the transaction is done.
create constraint trigger audit_created after insert on runs deferrable initially deferred
  for each row execute function audit_transition();
create constraint trigger audit_changed after update on runs deferrable initially deferred
  for each row when (old.state <> new.state or old.epoch <> new.epoch) execute function audit_transition();

create function audit_event() returns trigger language plpgsql security definer
set search_path = pg_catalog, public as $$
begin
  if tg_op = 'DELETE' then new := old; end if;
  insert into audit_events (run_id, seq, epoch, type, change) values (new.run_id, new.seq, new.epoch, new.type, tg_op);
  return null;
end $$;
create trigger audit_event after insert or update or delete on run_events for each row execute function audit_event();

create function audit_lease() returns trigger language plpgsql security definer
set search_path = pg_catalog, public as $$
begin
  if tg_op = 'DELETE' then new := old; end if;
  insert into audit_leases (run_id, epoch, session_id, change) values (new.run_id, new.epoch, new.session_id, tg_op);
  return null;
end $$;
create trigger audit_lease after insert or delete on leases for each row execute function audit_lease();
create trigger audit_lease_moved after update on leases for each row
  when (old.session_id <> new.session_id or old.epoch <> new.epoch or old.worker_id <> new.worker_id)
  execute function audit_lease();
