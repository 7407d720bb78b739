-- breaking
-- Completed runs register their final weights as a version of a model: a daemon that does not know would complete a run
-- without it.

-- A name that weights are registered under. It belongs to the owner of the first run that named it in register_to, from
-- the moment that run was admitted, and is never renamed or deleted.
create table registered_models (
  model_id     bigint generated always as identity primary key,
  workspace_id bigint not null references workspaces,
  owner_id     bigint not null references owners,
  -- catalog.schema.model
  name         text not null,
  -- The newest version; 0 until the first run has completed.
  last_version int not null default 0 check (last_version >= 0),
  create_time  timestamptz not null default clock_timestamp(),
  unique (workspace_id, name)
);
create index registered_models_of_workspace on registered_models (workspace_id, model_id) where last_version > 0;
create index registered_models_of_owner on registered_models (owner_id, model_id) where last_version > 0;

alter table runs add column registered_model_id bigint references registered_models;

-- The weights of one completed run. Never changes.
create table model_versions (
  model_id        bigint not null references registered_models,
  version         int not null check (version > 0),
  run_id          bigint not null unique references runs,
  -- The checkpoint it is a copy of.
  checkpoint      text not null,
  size_bytes      bigint not null check (size_bytes >= 0),
  -- Of its manifest.json, hexadecimal.
  manifest_sha256 text not null,
  create_time     timestamptz not null default clock_timestamp(),
  primary key (model_id, version)
);
