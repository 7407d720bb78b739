-- breaking
-- Experiments become rows of their own, runs can be deleted, and every way to list runs has an index.

-- A group of runs. It comes into being with its first run and is never renamed or deleted.
create table experiments (
  experiment_id bigint generated always as identity primary key,
  workspace_id  bigint not null references workspaces,
  path          text not null,
  uid           uuid not null unique default gen_random_uuid(),
  create_time   timestamptz not null default clock_timestamp(),
  unique (workspace_id, path)
);
create index experiments_of_workspace on experiments (workspace_id, experiment_id);

insert into experiments (workspace_id, path, create_time)
  select workspace_id, experiment_path, min(create_time) from runs group by 1, 2 order by 3;

alter table runs
  add column experiment_id bigint references experiments,
  -- When a user deleted it: it is found by no name and in no listing any more, and its name stays taken.
  add column delete_time timestamptz;
update runs r set experiment_id = e.experiment_id
  from experiments e where e.workspace_id = r.workspace_id and e.path = r.experiment_path;
alter table runs
  alter column experiment_id set not null,
  drop column experiment_path,
  add constraint only_terminal_runs_are_deleted
    check (delete_time is null or state in ('COMPLETED', 'FAILED', 'STOPPED'));

create index runs_newest_of_experiment on runs (experiment_id, create_time desc, run_id desc);
create index runs_experiments_of_owner on runs (owner_id, experiment_id);
-- Runs without labels are not in it, so that the many updates of most runs do not touch it.
create index runs_labels on runs using gin (labels jsonb_path_ops) where labels <> '{}';

-- How a run is scheduled was changed by a user.
alter type event_type add value 'UPDATED';
