-- compatible
-- How each attempt ended, so that what follows is decided over all of them; runs that wait before their next attempt,
-- or only so long for their first; and workers in quarantine. Daemons of the version before end attempts without saying
-- how, which then count for nothing; they queue delayed runs early, and give work to workers in quarantine.
create type attribution as enum (
  'USER', 'INTERNAL', 'NETWORK', 'INFRASTRUCTURE', 'OUT_OF_MEMORY', 'STALLED', 'PREEMPTED', 'DATA');

-- Locks in the order that daemons keep.
-- trainer_failures and infra_losses are no longer written: the attempts say it.
alter table runs
  -- While PENDING: the next attempt is not queued before.
  add column retry_time timestamptz,
  -- How long it may wait to start for the first time, pauses not counted.
  add column max_queue_time interval,
  -- Since when it has waited after a pause, where it had started before.
  add column resume_time timestamptz;
create index runs_retrying on runs (retry_time) where state = 'PENDING' and retry_time is not null;
create index runs_that_may_wait_so_long on runs (create_time)
  where state = 'PENDING' and start_time is null and max_queue_time is not null;

alter table workers
  -- Until then it gets no attempt, and after that one at a time until it is seen to be well.
  add column quarantine_end_time timestamptz,
  add column loss_count int not null default 0,
  -- Attempts from before say nothing about it.
  add column trusted_time timestamptz not null default '-infinity';
create index workers_in_quarantine on workers (worker_id) where quarantine_end_time is not null;

alter table leases
  add column renew_time timestamptz not null default clock_timestamp();

alter table run_attempts
  -- Who had to act, where it failed.
  add column attribution attribution,
  -- It ended because its worker was gone.
  add column worker_lost boolean not null default false,
  -- It saved a checkpoint that was listed.
  add column saved boolean not null default false,
  -- Where it has ended: when its lease was last renewed.
  add column last_renew_time timestamptz;
create index run_attempts_of_worker on run_attempts (worker_id, create_time desc);
