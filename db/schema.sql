-- Made by `make schema` from db/migrations; do not edit.

CREATE TYPE public.attribution AS ENUM (
    'USER',
    'INTERNAL',
    'NETWORK',
    'INFRASTRUCTURE',
    'OUT_OF_MEMORY',
    'STALLED',
    'PREEMPTED',
    'DATA'
);

CREATE TYPE public.event_type AS ENUM (
    'CREATED',
    'STARTED',
    'DATA_VALIDATED',
    'MODEL_INITIALIZED',
    'TRAIN_UPDATED',
    'TRAIN_FINISHED',
    'COMPLETED',
    'CANCELED',
    'FAILED',
    'EVALUATED',
    'CHECKPOINT_SAVED',
    'REQUEUED',
    'STOP_REQUESTED',
    'RESUMED',
    'OTHER',
    'UPDATED',
    'PROMPT_ANSWERED',
    'PAUSED',
    'RESUME_REQUESTED',
    'LINKED'
);

CREATE TYPE public.run_state AS ENUM (
    'PENDING',
    'QUEUED',
    'STARTING',
    'RUNNING',
    'TERMINATING',
    'PAUSED',
    'COMPLETED',
    'FAILED',
    'STOPPED'
);

CREATE TYPE public.stop_kind AS ENUM (
    'CANCEL',
    'PAUSE',
    'PREEMPT',
    'DEADLINE'
);

CREATE FUNCTION public.ensure_event_partitions() RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'public'
    AS $$
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

CREATE FUNCTION public.feed_position() RETURNS bigint
    LANGUAGE plpgsql
    AS $$ begin return (select feed_base + pg_current_xact_id()::text::bigint from public.installation); end $$;

CREATE FUNCTION public.guard_run_state() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'public'
    AS $$
begin
  if not exists (select from public.run_state_edges where from_state = old.state and to_state = new.state) then
    raise exception 'run % cannot go from % to %', old.run_id, old.state, new.state
      using errcode = 'check_violation';
  end if;
  return new;
end $$;

CREATE FUNCTION public.guard_terminal_run() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'public'
    AS $$
begin
  if (new.epoch, new.last_seq, new.name, new.uid, new.owner_id, new.end_time)
     is distinct from (old.epoch, old.last_seq, old.name, old.uid, old.owner_id, old.end_time) then
    raise exception 'run % is %: it does not change any more', old.run_id, old.state
      using errcode = 'check_violation';
  end if;
  return new;
end $$;

CREATE FUNCTION public.is_needed_event_partition(part bigint) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'public'
    AS $$
  select exists (
    select from public.runs r join public.workspaces w using (workspace_id)
    where r.run_id >= part * 100000 and r.run_id < (part + 1) * 100000
      and (r.end_time is null or w.event_retention is null or r.end_time > clock_timestamp() - w.event_retention))
$$;

CREATE FUNCTION public.retire_event_partition() RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'public'
    SET lock_timeout TO '200ms'
    AS $_$
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
end $_$;

CREATE TABLE public.checkpoints (
    run_id bigint NOT NULL,
    name text NOT NULL,
    epoch bigint NOT NULL,
    step bigint NOT NULL,
    path text NOT NULL,
    detail bytea NOT NULL,
    create_time timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);

CREATE TABLE public.create_requests (
    owner_id bigint NOT NULL,
    request_id uuid NOT NULL,
    request_hash bytea NOT NULL,
    run_id bigint NOT NULL,
    create_time timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);

CREATE TABLE public.experiments (
    experiment_id bigint NOT NULL,
    workspace_id bigint NOT NULL,
    path text NOT NULL,
    uid uuid DEFAULT gen_random_uuid() NOT NULL,
    create_time timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);

ALTER TABLE public.experiments ALTER COLUMN experiment_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.experiments_experiment_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.installation (
    only_row boolean DEFAULT true NOT NULL,
    page_token_key bytea NOT NULL,
    reap_time timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    feed_base bigint DEFAULT 0 NOT NULL,
    feed_dropped bigint DEFAULT 0 NOT NULL,
    CONSTRAINT installation_only_row_check CHECK (only_row)
);

CREATE TABLE public.leases (
    run_id bigint NOT NULL,
    epoch bigint NOT NULL,
    worker_id bigint NOT NULL,
    session_id bigint NOT NULL,
    expire_time timestamp with time zone NOT NULL,
    renew_time timestamp with time zone DEFAULT clock_timestamp() NOT NULL
)
WITH (fillfactor='60');

CREATE TABLE public.model_versions (
    model_id bigint NOT NULL,
    version integer NOT NULL,
    run_id bigint NOT NULL,
    checkpoint text NOT NULL,
    size_bytes bigint NOT NULL,
    manifest_sha256 text NOT NULL,
    create_time timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT model_versions_size_bytes_check CHECK ((size_bytes >= 0)),
    CONSTRAINT model_versions_version_check CHECK ((version > 0))
);

CREATE TABLE public.owners (
    owner_id bigint NOT NULL,
    workspace_id bigint NOT NULL,
    email text NOT NULL,
    active integer DEFAULT 0 NOT NULL,
    active_limit integer,
    holding_limit integer,
    CONSTRAINT owners_active_check CHECK ((active >= 0)),
    CONSTRAINT owners_active_limit_check CHECK ((active_limit >= 0)),
    CONSTRAINT owners_holding_limit_check CHECK ((holding_limit >= 0))
)
WITH (fillfactor='50', autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='5000');

ALTER TABLE public.owners ALTER COLUMN owner_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.owners_owner_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE SEQUENCE public.queue_positions
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

CREATE TABLE public.registered_models (
    model_id bigint NOT NULL,
    workspace_id bigint NOT NULL,
    owner_id bigint NOT NULL,
    name text NOT NULL,
    last_version integer DEFAULT 0 NOT NULL,
    create_time timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT registered_models_last_version_check CHECK ((last_version >= 0))
);

ALTER TABLE public.registered_models ALTER COLUMN model_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.registered_models_model_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.run_attempts (
    run_id bigint NOT NULL,
    epoch bigint NOT NULL,
    worker_id bigint NOT NULL,
    create_time timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    start_time timestamp with time zone,
    end_time timestamp with time zone,
    acked_report bigint DEFAULT 0 NOT NULL,
    end_reason text,
    attribution public.attribution,
    worker_lost boolean DEFAULT false NOT NULL,
    saved boolean DEFAULT false NOT NULL,
    last_renew_time timestamp with time zone,
    metric_bytes bigint DEFAULT 0 NOT NULL
)
WITH (fillfactor='70');

CREATE TABLE public.run_events (
    run_id bigint NOT NULL,
    seq bigint NOT NULL,
    event_time timestamp with time zone NOT NULL,
    epoch bigint NOT NULL,
    type public.event_type NOT NULL,
    message text NOT NULL,
    detail bytea NOT NULL,
    feed_pos bigint DEFAULT public.feed_position() NOT NULL
)
PARTITION BY RANGE (run_id);

CREATE TABLE public.run_events_0 (
    run_id bigint NOT NULL,
    seq bigint NOT NULL,
    event_time timestamp with time zone NOT NULL,
    epoch bigint NOT NULL,
    type public.event_type NOT NULL,
    message text NOT NULL,
    detail bytea NOT NULL,
    feed_pos bigint DEFAULT public.feed_position() NOT NULL
)
WITH (fillfactor='100');

CREATE TABLE public.run_events_1 (
    run_id bigint NOT NULL,
    seq bigint NOT NULL,
    event_time timestamp with time zone NOT NULL,
    epoch bigint NOT NULL,
    type public.event_type NOT NULL,
    message text NOT NULL,
    detail bytea NOT NULL,
    feed_pos bigint DEFAULT public.feed_position() NOT NULL
)
WITH (fillfactor='100');

CREATE TABLE public.run_events_2 (
    run_id bigint NOT NULL,
    seq bigint NOT NULL,
    event_time timestamp with time zone NOT NULL,
    epoch bigint NOT NULL,
    type public.event_type NOT NULL,
    message text NOT NULL,
    detail bytea NOT NULL,
    feed_pos bigint DEFAULT public.feed_position() NOT NULL
)
WITH (fillfactor='100');

CREATE TABLE public.run_queue (
    shape_id integer NOT NULL,
    priority smallint NOT NULL,
    pos bigint NOT NULL,
    run_id bigint NOT NULL
)
WITH (autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='10000', autovacuum_vacuum_cost_delay='0');

CREATE TABLE public.run_specs (
    run_id bigint NOT NULL,
    spec bytea NOT NULL
);

CREATE TABLE public.run_state_edges (
    from_state public.run_state NOT NULL,
    to_state public.run_state NOT NULL
);

CREATE TABLE public.runs (
    run_id bigint NOT NULL,
    workspace_id bigint NOT NULL,
    owner_id bigint NOT NULL,
    shape_id integer NOT NULL,
    priority smallint NOT NULL,
    state public.run_state DEFAULT 'PENDING'::public.run_state NOT NULL,
    stop_requested public.stop_kind,
    epoch bigint DEFAULT 0 NOT NULL,
    last_seq bigint DEFAULT 1 NOT NULL,
    queue_pos bigint NOT NULL,
    trainer_failures integer DEFAULT 0 NOT NULL,
    infra_losses integer DEFAULT 0 NOT NULL,
    max_retries integer DEFAULT 0 NOT NULL,
    max_run_time interval,
    checkpoints_kept integer DEFAULT '-1'::integer NOT NULL,
    create_time timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    update_time timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    start_time timestamp with time zone,
    end_time timestamp with time zone,
    estimated_end_time timestamp with time zone,
    uid uuid NOT NULL,
    name text NOT NULL,
    model text NOT NULL,
    state_reason text DEFAULT ''::text NOT NULL,
    labels jsonb DEFAULT '{}'::jsonb NOT NULL,
    progress bytea,
    failure bytea,
    experiment_id bigint NOT NULL,
    delete_time timestamp with time zone,
    registered_model_id bigint,
    source_run_id bigint,
    pause_time timestamp with time zone,
    paused_duration interval DEFAULT '00:00:00'::interval NOT NULL,
    links jsonb DEFAULT '{}'::jsonb NOT NULL,
    retry_time timestamp with time zone,
    max_queue_time interval,
    resume_time timestamp with time zone,
    feed_pos bigint DEFAULT 0 NOT NULL,
    CONSTRAINT end_time_exactly_when_terminal CHECK (((end_time IS NOT NULL) = (state = ANY (ARRAY['COMPLETED'::public.run_state, 'FAILED'::public.run_state, 'STOPPED'::public.run_state])))),
    CONSTRAINT failure_only_when_failed CHECK (((failure IS NULL) OR (state = 'FAILED'::public.run_state))),
    CONSTRAINT no_stop_requested_while_waiting CHECK (((stop_requested IS NULL) OR (state <> ALL (ARRAY['PENDING'::public.run_state, 'PAUSED'::public.run_state])))),
    CONSTRAINT only_terminal_runs_are_deleted CHECK (((delete_time IS NULL) OR (state = ANY (ARRAY['COMPLETED'::public.run_state, 'FAILED'::public.run_state, 'STOPPED'::public.run_state])))),
    CONSTRAINT pause_time_exactly_when_paused CHECK (((pause_time IS NOT NULL) = (state = 'PAUSED'::public.run_state))),
    CONSTRAINT runs_name_check CHECK ((name ~ '^[a-z][a-z0-9-]{0,61}[a-z0-9]$'::text)),
    CONSTRAINT runs_priority_check CHECK (((priority >= 0) AND (priority <= 3)))
)
WITH (fillfactor='65');

ALTER TABLE public.runs ALTER COLUMN run_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.runs_run_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.schema_migrations (
    version integer NOT NULL,
    name text NOT NULL,
    breaking boolean NOT NULL,
    apply_time timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);

CREATE TABLE public.shapes (
    shape_id integer NOT NULL,
    gpus integer NOT NULL,
    gpu_type text NOT NULL,
    cpus integer NOT NULL,
    memory_bytes bigint NOT NULL,
    CONSTRAINT shapes_cpus_check CHECK ((cpus >= 1)),
    CONSTRAINT shapes_gpus_check CHECK ((gpus >= 0)),
    CONSTRAINT shapes_memory_bytes_check CHECK ((memory_bytes >= 0))
);

ALTER TABLE public.shapes ALTER COLUMN shape_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.shapes_shape_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.tokens (
    token_hash bytea NOT NULL,
    workspace_id bigint NOT NULL,
    email text NOT NULL,
    role text NOT NULL,
    create_time timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    expire_time timestamp with time zone,
    revoke_time timestamp with time zone,
    worker_name text,
    CONSTRAINT tokens_role_check CHECK ((role = ANY (ARRAY['reader'::text, 'user'::text, 'admin'::text, 'worker'::text]))),
    CONSTRAINT tokens_token_hash_check CHECK ((length(token_hash) = 32))
);

CREATE TABLE public.workers (
    worker_id bigint NOT NULL,
    name text NOT NULL,
    session_id bigint,
    boot_id text NOT NULL,
    version text NOT NULL,
    gpus integer NOT NULL,
    gpu_type text NOT NULL,
    cpus integer NOT NULL,
    memory_bytes bigint NOT NULL,
    labels jsonb DEFAULT '{}'::jsonb NOT NULL,
    draining boolean DEFAULT false NOT NULL,
    last_seen_time timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    drain_requested boolean DEFAULT false NOT NULL,
    quarantine_end_time timestamp with time zone,
    loss_count integer DEFAULT 0 NOT NULL,
    trusted_time timestamp with time zone DEFAULT '-infinity'::timestamp with time zone NOT NULL
)
WITH (fillfactor='70');

ALTER TABLE public.workers ALTER COLUMN worker_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.workers_worker_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.workspaces (
    workspace_id bigint NOT NULL,
    name text NOT NULL,
    share_runs boolean DEFAULT false NOT NULL,
    create_time timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    event_retention interval,
    metric_retention interval,
    log_retention interval,
    metrics_swept_time timestamp with time zone,
    logs_swept_time timestamp with time zone,
    CONSTRAINT workspaces_name_check CHECK ((name ~ '^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$'::text)),
    CONSTRAINT workspaces_retention_check CHECK ((LEAST(event_retention, metric_retention, log_retention) >= '01:00:00'::interval))
);

ALTER TABLE public.workspaces ALTER COLUMN workspace_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.workspaces_workspace_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

ALTER TABLE ONLY public.run_events ATTACH PARTITION public.run_events_0 FOR VALUES FROM ('0') TO ('100000');

ALTER TABLE ONLY public.run_events ATTACH PARTITION public.run_events_1 FOR VALUES FROM ('100000') TO ('200000');

ALTER TABLE ONLY public.run_events ATTACH PARTITION public.run_events_2 FOR VALUES FROM ('200000') TO ('300000');

ALTER TABLE ONLY public.checkpoints
    ADD CONSTRAINT checkpoints_pkey PRIMARY KEY (run_id, name);

ALTER TABLE ONLY public.create_requests
    ADD CONSTRAINT create_requests_pkey PRIMARY KEY (owner_id, request_id);

ALTER TABLE ONLY public.experiments
    ADD CONSTRAINT experiments_pkey PRIMARY KEY (experiment_id);

ALTER TABLE ONLY public.experiments
    ADD CONSTRAINT experiments_uid_key UNIQUE (uid);

ALTER TABLE ONLY public.experiments
    ADD CONSTRAINT experiments_workspace_id_path_key UNIQUE (workspace_id, path);

ALTER TABLE ONLY public.installation
    ADD CONSTRAINT installation_pkey PRIMARY KEY (only_row);

ALTER TABLE ONLY public.leases
    ADD CONSTRAINT leases_pkey PRIMARY KEY (run_id);

ALTER TABLE ONLY public.model_versions
    ADD CONSTRAINT model_versions_pkey PRIMARY KEY (model_id, version);

ALTER TABLE ONLY public.model_versions
    ADD CONSTRAINT model_versions_run_id_key UNIQUE (run_id);

ALTER TABLE ONLY public.owners
    ADD CONSTRAINT owners_pkey PRIMARY KEY (owner_id);

ALTER TABLE ONLY public.owners
    ADD CONSTRAINT owners_workspace_id_email_key UNIQUE (workspace_id, email);

ALTER TABLE ONLY public.registered_models
    ADD CONSTRAINT registered_models_pkey PRIMARY KEY (model_id);

ALTER TABLE ONLY public.registered_models
    ADD CONSTRAINT registered_models_workspace_id_name_key UNIQUE (workspace_id, name);

ALTER TABLE ONLY public.run_attempts
    ADD CONSTRAINT run_attempts_pkey PRIMARY KEY (run_id, epoch);

ALTER TABLE ONLY public.run_events
    ADD CONSTRAINT run_events_pkey PRIMARY KEY (run_id, seq);

ALTER TABLE ONLY public.run_events_0
    ADD CONSTRAINT run_events_0_pkey PRIMARY KEY (run_id, seq);

ALTER TABLE ONLY public.run_events_1
    ADD CONSTRAINT run_events_1_pkey PRIMARY KEY (run_id, seq);

ALTER TABLE ONLY public.run_events_2
    ADD CONSTRAINT run_events_2_pkey PRIMARY KEY (run_id, seq);

ALTER TABLE ONLY public.run_queue
    ADD CONSTRAINT run_queue_pkey PRIMARY KEY (shape_id, priority, pos);

ALTER TABLE ONLY public.run_specs
    ADD CONSTRAINT run_specs_pkey PRIMARY KEY (run_id);

ALTER TABLE ONLY public.run_state_edges
    ADD CONSTRAINT run_state_edges_pkey PRIMARY KEY (from_state, to_state);

ALTER TABLE ONLY public.runs
    ADD CONSTRAINT runs_pkey PRIMARY KEY (run_id);

ALTER TABLE ONLY public.runs
    ADD CONSTRAINT runs_uid_key UNIQUE (uid);

ALTER TABLE ONLY public.runs
    ADD CONSTRAINT runs_workspace_id_name_key UNIQUE (workspace_id, name);

ALTER TABLE ONLY public.schema_migrations
    ADD CONSTRAINT schema_migrations_pkey PRIMARY KEY (version);

ALTER TABLE ONLY public.shapes
    ADD CONSTRAINT shapes_gpus_gpu_type_cpus_memory_bytes_key UNIQUE (gpus, gpu_type, cpus, memory_bytes);

ALTER TABLE ONLY public.shapes
    ADD CONSTRAINT shapes_pkey PRIMARY KEY (shape_id);

ALTER TABLE ONLY public.tokens
    ADD CONSTRAINT tokens_pkey PRIMARY KEY (token_hash);

ALTER TABLE ONLY public.workers
    ADD CONSTRAINT workers_name_key UNIQUE (name);

ALTER TABLE ONLY public.workers
    ADD CONSTRAINT workers_pkey PRIMARY KEY (worker_id);

ALTER TABLE ONLY public.workspaces
    ADD CONSTRAINT workspaces_name_key UNIQUE (name);

ALTER TABLE ONLY public.workspaces
    ADD CONSTRAINT workspaces_pkey PRIMARY KEY (workspace_id);

CREATE INDEX create_requests_oldest ON public.create_requests USING btree (create_time);

CREATE INDEX experiments_of_workspace ON public.experiments USING btree (workspace_id, experiment_id);

CREATE INDEX leases_of_worker ON public.leases USING btree (worker_id);

CREATE INDEX registered_models_of_owner ON public.registered_models USING btree (owner_id, model_id) WHERE (last_version > 0);

CREATE INDEX registered_models_of_workspace ON public.registered_models USING btree (workspace_id, model_id) WHERE (last_version > 0);

CREATE INDEX run_attempts_of_worker ON public.run_attempts USING btree (worker_id, create_time DESC);

CREATE INDEX run_events_feed ON ONLY public.run_events USING btree (feed_pos, run_id, seq);

CREATE INDEX run_events_0_feed_pos_run_id_seq_idx ON public.run_events_0 USING btree (feed_pos, run_id, seq);

CREATE INDEX run_events_1_feed_pos_run_id_seq_idx ON public.run_events_1 USING btree (feed_pos, run_id, seq);

CREATE INDEX run_events_2_feed_pos_run_id_seq_idx ON public.run_events_2 USING btree (feed_pos, run_id, seq);

CREATE INDEX runs_ended_of_workspace ON public.runs USING btree (workspace_id, end_time) WHERE (end_time IS NOT NULL);

CREATE INDEX runs_experiments_of_owner ON public.runs USING btree (owner_id, experiment_id);

CREATE INDEX runs_labels ON public.runs USING gin (labels jsonb_path_ops) WHERE (labels <> '{}'::jsonb);

CREATE INDEX runs_newest_of_experiment ON public.runs USING btree (experiment_id, create_time DESC, run_id DESC);

CREATE INDEX runs_newest_of_owner ON public.runs USING btree (owner_id, create_time DESC, run_id DESC);

CREATE INDEX runs_newest_of_source ON public.runs USING btree (source_run_id, create_time DESC, run_id DESC) WHERE (source_run_id IS NOT NULL);

CREATE INDEX runs_newest_of_workspace ON public.runs USING btree (workspace_id, create_time DESC, run_id DESC);

CREATE INDEX runs_not_ended_of_owner ON public.runs USING btree (owner_id) WHERE (end_time IS NULL);

CREATE INDEX runs_of_limited_time ON public.runs USING btree (run_id) WHERE ((max_run_time IS NOT NULL) AND (end_time IS NULL));

CREATE INDEX runs_of_limited_wait ON public.runs USING btree (create_time) WHERE ((max_queue_time IS NOT NULL) AND (end_time IS NULL));

CREATE INDEX runs_pausing_of_owner ON public.runs USING btree (owner_id) WHERE ((pause_time IS NOT NULL) OR (stop_requested = 'PAUSE'::public.stop_kind));

CREATE INDEX runs_to_retry ON public.runs USING btree (retry_time) WHERE ((retry_time IS NOT NULL) AND (end_time IS NULL));

CREATE INDEX workers_in_quarantine ON public.workers USING btree (worker_id) WHERE (quarantine_end_time IS NOT NULL);

ALTER INDEX public.run_events_feed ATTACH PARTITION public.run_events_0_feed_pos_run_id_seq_idx;

ALTER INDEX public.run_events_pkey ATTACH PARTITION public.run_events_0_pkey;

ALTER INDEX public.run_events_feed ATTACH PARTITION public.run_events_1_feed_pos_run_id_seq_idx;

ALTER INDEX public.run_events_pkey ATTACH PARTITION public.run_events_1_pkey;

ALTER INDEX public.run_events_feed ATTACH PARTITION public.run_events_2_feed_pos_run_id_seq_idx;

ALTER INDEX public.run_events_pkey ATTACH PARTITION public.run_events_2_pkey;

CREATE TRIGGER guard_run_state BEFORE UPDATE ON public.runs FOR EACH ROW WHEN ((old.state IS DISTINCT FROM new.state)) EXECUTE FUNCTION public.guard_run_state();

CREATE TRIGGER guard_terminal_run BEFORE UPDATE ON public.runs FOR EACH ROW WHEN ((old.state = ANY (ARRAY['COMPLETED'::public.run_state, 'FAILED'::public.run_state, 'STOPPED'::public.run_state]))) EXECUTE FUNCTION public.guard_terminal_run();

ALTER TABLE ONLY public.checkpoints
    ADD CONSTRAINT checkpoints_run_id_fkey FOREIGN KEY (run_id) REFERENCES public.runs(run_id);

ALTER TABLE ONLY public.create_requests
    ADD CONSTRAINT create_requests_owner_id_fkey FOREIGN KEY (owner_id) REFERENCES public.owners(owner_id);

ALTER TABLE ONLY public.create_requests
    ADD CONSTRAINT create_requests_run_id_fkey FOREIGN KEY (run_id) REFERENCES public.runs(run_id);

ALTER TABLE ONLY public.experiments
    ADD CONSTRAINT experiments_workspace_id_fkey FOREIGN KEY (workspace_id) REFERENCES public.workspaces(workspace_id);

ALTER TABLE ONLY public.leases
    ADD CONSTRAINT leases_run_id_fkey FOREIGN KEY (run_id) REFERENCES public.runs(run_id);

ALTER TABLE ONLY public.leases
    ADD CONSTRAINT leases_worker_id_fkey FOREIGN KEY (worker_id) REFERENCES public.workers(worker_id);

ALTER TABLE ONLY public.model_versions
    ADD CONSTRAINT model_versions_model_id_fkey FOREIGN KEY (model_id) REFERENCES public.registered_models(model_id);

ALTER TABLE ONLY public.model_versions
    ADD CONSTRAINT model_versions_run_id_fkey FOREIGN KEY (run_id) REFERENCES public.runs(run_id);

ALTER TABLE ONLY public.owners
    ADD CONSTRAINT owners_workspace_id_fkey FOREIGN KEY (workspace_id) REFERENCES public.workspaces(workspace_id);

ALTER TABLE ONLY public.registered_models
    ADD CONSTRAINT registered_models_owner_id_fkey FOREIGN KEY (owner_id) REFERENCES public.owners(owner_id);

ALTER TABLE ONLY public.registered_models
    ADD CONSTRAINT registered_models_workspace_id_fkey FOREIGN KEY (workspace_id) REFERENCES public.workspaces(workspace_id);

ALTER TABLE ONLY public.run_attempts
    ADD CONSTRAINT run_attempts_run_id_fkey FOREIGN KEY (run_id) REFERENCES public.runs(run_id);

ALTER TABLE ONLY public.run_attempts
    ADD CONSTRAINT run_attempts_worker_id_fkey FOREIGN KEY (worker_id) REFERENCES public.workers(worker_id);

ALTER TABLE ONLY public.run_queue
    ADD CONSTRAINT run_queue_run_id_fkey FOREIGN KEY (run_id) REFERENCES public.runs(run_id);

ALTER TABLE ONLY public.run_specs
    ADD CONSTRAINT run_specs_run_id_fkey FOREIGN KEY (run_id) REFERENCES public.runs(run_id);

ALTER TABLE ONLY public.runs
    ADD CONSTRAINT runs_experiment_id_fkey FOREIGN KEY (experiment_id) REFERENCES public.experiments(experiment_id);

ALTER TABLE ONLY public.runs
    ADD CONSTRAINT runs_owner_id_fkey FOREIGN KEY (owner_id) REFERENCES public.owners(owner_id);

ALTER TABLE ONLY public.runs
    ADD CONSTRAINT runs_registered_model_id_fkey FOREIGN KEY (registered_model_id) REFERENCES public.registered_models(model_id);

ALTER TABLE ONLY public.runs
    ADD CONSTRAINT runs_shape_id_fkey FOREIGN KEY (shape_id) REFERENCES public.shapes(shape_id);

ALTER TABLE ONLY public.runs
    ADD CONSTRAINT runs_source_run_id_fkey FOREIGN KEY (source_run_id) REFERENCES public.runs(run_id);

ALTER TABLE ONLY public.runs
    ADD CONSTRAINT runs_workspace_id_fkey FOREIGN KEY (workspace_id) REFERENCES public.workspaces(workspace_id);

ALTER TABLE ONLY public.tokens
    ADD CONSTRAINT tokens_workspace_id_fkey FOREIGN KEY (workspace_id) REFERENCES public.workspaces(workspace_id);

