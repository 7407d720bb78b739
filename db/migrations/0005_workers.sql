-- compatible
-- Taking workers out of use, and tokens for one worker. Older daemons neither drain nor check names, as before.

-- Whether an operator has taken the worker out of use: it gets nothing new, in no session.
alter table workers add column drain_requested boolean not null default false;
-- The only worker that may use the token; null for any.
alter table tokens add column worker_name text;
