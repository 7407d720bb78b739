-- compatible
alter table run_attempts
  -- How much of the attempt's metric file is durable and may be read: what a worker that does not hold the attempt any
  -- more adds to it never counts.
  add column metric_bytes bigint not null default 0;
