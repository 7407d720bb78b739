-- breaking
-- Session ids are drawn at random, so that no worker can name another's. Older daemons number them.
drop sequence worker_sessions;
