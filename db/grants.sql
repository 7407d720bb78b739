-- The rights of the daemon's role. Run after every migration; everything here can be repeated. The role is made by
-- whoever sets up the database, and where there is none the daemon has to use the migration's own.
do $$
begin
  if exists (select from pg_roles where rolname = 'finetuned_daemon') then
    grant usage on schema public to finetuned_daemon;
    grant select on all tables in schema public to finetuned_daemon;
    grant insert, update on workspaces, owners, tokens, runs, workers, run_attempts, leases to finetuned_daemon;
    -- The update is that of "insert or find": it changes nothing.
    grant insert, update (path) on experiments to finetuned_daemon;
    grant insert, update (gpus) on shapes to finetuned_daemon;
    grant insert, update (name, last_version) on registered_models to finetuned_daemon;
    grant insert on model_versions to finetuned_daemon;
    grant insert on run_specs, run_queue, create_requests, checkpoints, run_events to finetuned_daemon;
    -- Row locks need a right to update; queue rows are locked by those who claim them.
    grant update on run_queue, checkpoints to finetuned_daemon;
    grant delete on run_queue, leases, create_requests, checkpoints to finetuned_daemon;
    grant update (reap_time, feed_base) on installation to finetuned_daemon;
    grant usage, select on all sequences in schema public to finetuned_daemon;
    grant execute on function ensure_event_partitions(), retire_event_partition(), feed_position() to finetuned_daemon;
  end if;
end $$;
