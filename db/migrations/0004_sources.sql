-- compatible
-- Which run a run started from, so that both ways can be asked. An older daemon leaves it empty, which is what it knew.
alter table runs add column source_run_id bigint references runs;
create index runs_newest_of_source on runs (source_run_id, create_time desc, run_id desc) where source_run_id is not null;
