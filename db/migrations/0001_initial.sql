-- breaking
-- The first schema. Times are timestamptz named *_time; enum values are those of the proto; whoever writes a state
-- goes through the edges below.

create table workspaces (
  workspace_id bigint generated always as identity primary key,
  name         text not null unique check (name ~ '^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$'),
  -- Whether everybody in the workspace sees everybody's runs.
  share_runs   boolean not null default false,
  create_time  timestamptz not null default clock_timestamp()
);

-- One row per principal that owns runs: the counter that admission is decided by. Updated at every create and every
-- end, hence the room on the page that keeps those updates in place.
create table owners (
  owner_id     bigint generated always as identity primary key,
  workspace_id bigint not null references workspaces,
  email        text not null,
  -- Runs in PENDING to TERMINATING. Moved only in the transaction that moves the runs.
  active       int not null default 0 check (active >= 0),
  -- Null: the limit of the daemon's configuration.
  active_limit int check (active_limit >= 0),
  -- How many runs may be queued or held at a time; more wait outside the queue. Null: that of the configuration.
  holding_limit int check (holding_limit >= 0),
  unique (workspace_id, email)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

-- Bearer tokens. Only the SHA-256 of a token is kept.
create table tokens (
  token_hash   bytea primary key check (length(token_hash) = 32),
  workspace_id bigint not null references workspaces,
  email        text not null,
  role         text not null check (role in ('reader', 'user', 'admin', 'worker')),
  create_time  timestamptz not null default clock_timestamp(),
  expire_time  timestamptz,
  revoke_time  timestamptz
);

create type run_state as enum (
  'PENDING', 'QUEUED', 'STARTING', 'RUNNING', 'TERMINATING', 'PAUSED', 'COMPLETED', 'FAILED', 'STOPPED');

create type event_type as enum (
  'CREATED', 'STARTED', 'DATA_VALIDATED', 'MODEL_INITIALIZED', 'TRAIN_UPDATED', 'TRAIN_FINISHED', 'COMPLETED',
  'CANCELED', 'FAILED', 'EVALUATED', 'CHECKPOINT_SAVED', 'REQUEUED', 'STOP_REQUESTED', 'RESUMED', 'OTHER');

create type stop_kind as enum ('CANCEL', 'PAUSE', 'PREEMPT', 'DEADLINE');

-- What an attempt needs on its worker. Few rows: runs share them, and the queue is ordered within one.
create table shapes (
  shape_id     int generated always as identity primary key,
  gpus         int not null check (gpus >= 0),
  gpu_type     text not null,
  cpus         int not null check (cpus >= 1),
  memory_bytes bigint not null check (memory_bytes >= 0),
  unique (gpus, gpu_type, cpus, memory_bytes)
);

create table runs (
  run_id            bigint generated always as identity primary key,
  workspace_id      bigint not null references workspaces,
  owner_id          bigint not null references owners,
  shape_id          int not null references shapes,
  priority          smallint not null check (priority between 0 and 3),
  state             run_state not null default 'PENDING',
  -- The stop that was asked for and is not carried out yet.
  stop_requested    stop_kind,
  -- Number of the newest attempt: the fencing token. Every write of a worker names it.
  epoch             bigint not null default 0,
  -- Number of the newest event. Taken from under the row's lock, so that numbers are gapless and in commit order.
  last_seq          bigint not null default 1,
  -- Place in the queue; kept when the run is queued again after a loss.
  queue_pos         bigint not null,
  -- Failures of the trainer and losses of infrastructure so far, counted apart.
  trainer_failures  int not null default 0,
  infra_losses      int not null default 0,
  max_retries       int not null default 0,
  -- Wall-clock limit over all attempts.
  max_run_time      interval,
  -- How many of the newest checkpoints are kept; -1 for all.
  checkpoints_kept  int not null default -1,
  create_time       timestamptz not null default clock_timestamp(),
  update_time       timestamptz not null default clock_timestamp(),
  start_time        timestamptz,
  end_time          timestamptz,
  -- When training is expected to end.
  estimated_end_time timestamptz,
  uid               uuid not null unique,
  name              text not null check (name ~ '^[a-z][a-z0-9-]{0,61}[a-z0-9]$'),
  model             text not null,
  experiment_path   text not null,
  state_reason      text not null default '',
  labels            jsonb not null default '{}',
  -- Serialised finetuned.v1.Progress and finetuned.v1.Failure.
  progress          bytea,
  failure           bytea,
  -- A name is never used again, so there is no way to have it twice.
  unique (workspace_id, name),
  constraint end_time_exactly_when_terminal
    check ((end_time is not null) = (state in ('COMPLETED', 'FAILED', 'STOPPED'))),
  constraint failure_only_when_failed check (failure is null or state = 'FAILED'),
  constraint no_stop_requested_while_waiting
    check (stop_requested is null or state not in ('PENDING', 'PAUSED'))
) with (fillfactor = 80);
create index runs_newest_of_owner on runs (owner_id, create_time desc, run_id desc);
create index runs_newest_of_workspace on runs (workspace_id, create_time desc, run_id desc);
create index runs_active_of_owner on runs (owner_id)
  where state in ('PENDING', 'QUEUED', 'STARTING', 'RUNNING', 'TERMINATING');

-- Kept apart, so that the many updates of a run do not rewrite it. Serialised finetuned.v1.RunSpec.
create table run_specs (
  run_id bigint primary key references runs,
  spec   bytea not null
);

create sequence queue_positions as bigint;

-- The runs that may start now, and nothing else: a row is deleted when its run is leased, so the table stays as small
-- as the backlog. Readers begin at a low-water hint and not at the dead rows in front.
create table run_queue (
  shape_id int not null,
  priority smallint not null,
  pos      bigint not null,
  run_id   bigint not null references runs,
  primary key (shape_id, priority, pos)
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000, autovacuum_vacuum_cost_delay = 0);

-- Idempotency of CreateRun. Rows are deleted after a day.
create table create_requests (
  owner_id     bigint not null references owners,
  request_id   uuid not null,
  request_hash bytea not null,
  run_id       bigint not null references runs,
  create_time  timestamptz not null default clock_timestamp(),
  primary key (owner_id, request_id)
);

create table workers (
  worker_id      bigint generated always as identity primary key,
  name           text not null unique,
  -- The session that may speak for this worker; null when it has none.
  session_id     bigint,
  boot_id        text not null,
  version        text not null,
  gpus           int not null,
  gpu_type       text not null,
  cpus           int not null,
  memory_bytes   bigint not null,
  labels         jsonb not null default '{}',
  draining       boolean not null default false,
  last_seen_time timestamptz not null default clock_timestamp()
) with (fillfactor = 70);

create sequence worker_sessions as bigint;

create table run_attempts (
  run_id       bigint not null references runs,
  epoch        bigint not null,
  worker_id    bigint not null references workers,
  create_time  timestamptz not null default clock_timestamp(),
  start_time   timestamptz,
  end_time     timestamptz,
  -- Highest report of the worker that is committed: later deliveries of it are dropped.
  acked_report bigint not null default 0,
  -- Why it ended, for a person.
  end_reason   text,
  primary key (run_id, epoch)
) with (fillfactor = 70);

-- The right to run an attempt. No index on expire_time: it would make every heartbeat rewrite index pages, and the
-- table is small enough to scan.
create table leases (
  run_id      bigint primary key references runs,
  epoch       bigint not null,
  worker_id   bigint not null references workers,
  session_id  bigint not null,
  expire_time timestamptz not null
) with (fillfactor = 60);

create table checkpoints (
  run_id           bigint not null references runs,
  name             text not null,
  epoch            bigint not null,
  step             bigint not null,
  path             text not null,
  -- Serialised finetuned.v1.Checkpoint.
  detail           bytea not null,
  create_time      timestamptz not null default clock_timestamp(),
  primary key (run_id, name)
);

-- What happened, numbered 1..last_seq per run. Rows never change.
create table run_events (
  run_id      bigint not null,
  seq         bigint not null,
  event_time  timestamptz not null,
  epoch       bigint not null,
  type        event_type not null,
  message     text not null,
  -- Serialised finetuned.v1.RunEvent with worker_time and detail only.
  detail      bytea not null,
  primary key (run_id, seq)
) partition by range (run_id);

-- Makes the partitions that the next runs will need: the one of the newest run and the two after it. Runs with the
-- rights of the migration's role, because the daemon's role may not change the schema.
create function ensure_event_partitions() returns int
  language plpgsql security definer set search_path = pg_catalog, public as $$
declare
  width constant bigint := 100000;
  newest bigint;
  made int := 0;
  part bigint;
begin
  select coalesce(max(run_id), 0) into newest from public.runs;
  for part in newest / width .. newest / width + 2 loop
    if to_regclass(format('public.run_events_%s', part)) is null then
      execute format('create table if not exists public.run_events_%s partition of public.run_events
                        for values from (%s) to (%s) with (fillfactor = 100)',
                     part, part * width, (part + 1) * width);
      made := made + 1;
    end if;
  end loop;
  return made;
end $$;
select ensure_event_partitions();

-- The edges between states, as queue/run_state.h has them.
create table run_state_edges (
  from_state run_state not null,
  to_state   run_state not null,
  primary key (from_state, to_state)
);
insert into run_state_edges values
  ('PENDING', 'QUEUED'), ('PENDING', 'STARTING'), ('PENDING', 'STOPPED'), ('PENDING', 'FAILED'),
  ('QUEUED', 'STARTING'), ('QUEUED', 'TERMINATING'), ('QUEUED', 'PENDING'), ('QUEUED', 'FAILED'),
  ('STARTING', 'RUNNING'), ('STARTING', 'TERMINATING'), ('STARTING', 'PENDING'), ('STARTING', 'FAILED'),
  ('RUNNING', 'TERMINATING'), ('RUNNING', 'PENDING'), ('RUNNING', 'FAILED'),
  ('TERMINATING', 'COMPLETED'), ('TERMINATING', 'FAILED'), ('TERMINATING', 'STOPPED'),
  ('TERMINATING', 'PAUSED'), ('TERMINATING', 'PENDING'),
  ('PAUSED', 'PENDING'), ('PAUSED', 'STOPPED');

create function guard_run_state() returns trigger
  language plpgsql set search_path = pg_catalog, public as $$
begin
  if not exists (select from public.run_state_edges where from_state = old.state and to_state = new.state) then
    raise exception 'run % cannot go from % to %', old.run_id, old.state, new.state
      using errcode = 'check_violation';
  end if;
  return new;
end $$;
create trigger guard_run_state before update on runs
  for each row when (old.state is distinct from new.state) execute function guard_run_state();

create function guard_terminal_run() returns trigger
  language plpgsql set search_path = pg_catalog, public as $$
begin
  if (new.epoch, new.last_seq, new.name, new.uid, new.owner_id, new.end_time)
     is distinct from (old.epoch, old.last_seq, old.name, old.uid, old.owner_id, old.end_time) then
    raise exception 'run % is %: it does not change any more', old.run_id, old.state
      using errcode = 'check_violation';
  end if;
  return new;
end $$;
create trigger guard_terminal_run before update on runs
  for each row when (old.state in ('COMPLETED', 'FAILED', 'STOPPED')) execute function guard_terminal_run();

-- What this installation is: one row. The key signs page tokens, so that any daemon reads any other's.
create table installation (
  only_row        boolean primary key default true check (only_row),
  page_token_key  bytea not null,
  -- When a daemon last looked for expired leases. A gap means that no renewal could be committed meanwhile.
  reap_time       timestamptz not null default clock_timestamp()
);
insert into installation (page_token_key)
  values (sha256(convert_to(gen_random_uuid()::text || gen_random_uuid()::text || gen_random_uuid()::text, 'UTF8')));

insert into workspaces (name) values ('default');
