-- breaking
-- A run can be paused and resumed, and tells where else it can be seen. Older daemons do not know these events, and
-- would count the time that a run was paused towards its max_run_time.
alter type event_type add value 'PAUSED';
alter type event_type add value 'RESUME_REQUESTED';
alter type event_type add value 'LINKED';
alter table runs
  -- Since when it is paused.
  add column pause_time timestamptz,
  -- How long it was paused since it first started, in all.
  add column paused_duration interval not null default '0',
  -- Where else it can be seen: pages by the name of their system.
  add column links jsonb not null default '{}',
  add constraint pause_time_exactly_when_paused check ((pause_time is not null) = (state = 'PAUSED'));
create index runs_paused_of_owner on runs (owner_id) where state = 'PAUSED' or stop_requested = 'PAUSE';
insert into run_state_edges values ('PENDING', 'PAUSED');
