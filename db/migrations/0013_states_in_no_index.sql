-- compatible
-- The state of a run is in no index, so that a run that is leased and reported on changes its row and no index at all:
-- each change of an indexed column, or of one that an index depends on, is an entry in every index of the table.
create index runs_not_ended_of_owner on runs (owner_id) where end_time is null;
create index runs_pausing_of_owner on runs (owner_id) where pause_time is not null or stop_requested = 'PAUSE';
create index runs_to_retry on runs (retry_time) where retry_time is not null and end_time is null;
create index runs_of_limited_wait on runs (create_time) where max_queue_time is not null and end_time is null;
create index runs_of_limited_time on runs (run_id) where max_run_time is not null and end_time is null;
-- And there is room for it on the row's own page.
alter table runs set (fillfactor = 65);
drop index runs_active_of_owner, runs_paused_of_owner, runs_retrying, runs_that_may_wait_so_long;
