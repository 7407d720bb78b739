#!/usr/bin/env bash
# Makes the two roles and the database of finetuned, and their settings. Can be repeated: what is there stays, and a
# password that is given is set anew.
#
#   FINETUNED_MIGRATE_PASSWORD=... FINETUNED_DAEMON_PASSWORD=... PGHOST=db.example PGUSER=postgres setup.sh
#
# It connects as libpq's variables say (PGHOST, PGPORT, PGUSER, PGPASSFILE, PGSSLMODE, ...): as a superuser, or a role
# that may create roles and databases. A password is taken from the environment, and where the variable is not set the
# role keeps the one it has, or has none: for peer or certificate authentication, or until `\password` sets it.
# No password appears on a command line, and none in the server's log. FINETUNED_DATABASE names another database.
set -euo pipefail

export FINETUNED_DATABASE=${FINETUNED_DATABASE:-finetuned}
export FINETUNED_MIGRATE_PASSWORD=${FINETUNED_MIGRATE_PASSWORD:-}
export FINETUNED_DAEMON_PASSWORD=${FINETUNED_DAEMON_PASSWORD:-}
psql=${PSQL:-psql}
command -v "$psql" >/dev/null || { echo "setup.sh: there is no $psql: apt-get install postgresql-client" >&2; exit 69; }

# -X: no psqlrc of whoever runs this.
exec "$psql" -X --quiet --tuples-only --no-align --set ON_ERROR_STOP=1 --dbname "${PGDATABASE:-postgres}" <<'SQL'
\getenv database FINETUNED_DATABASE
\getenv migrate_password FINETUNED_MIGRATE_PASSWORD
\getenv daemon_password FINETUNED_DAEMON_PASSWORD
set client_min_messages = warning;

do $$
begin
  if current_setting('server_version_num')::int < 150000 then
    raise exception 'finetuned needs PostgreSQL 15 or newer';
  end if;
end $$;

-- The statements that set passwords must not be logged. A role that is no superuser may not say so; then the server
-- logs them only with log_statement = ddl or all.
select rolsuper as is_superuser from pg_roles where rolname = current_user \gset
\if :is_superuser
  set log_statement = 'none';
  set log_min_duration_statement = -1;
  set log_min_error_statement = panic;
\endif
set password_encryption = 'scram-sha-256';

-- The daemon's role must have this name: the rights of the schema are given to it (db/grants.sql).
select format('create role %I login', role)
from unnest(array['finetuned_migrate', 'finetuned_daemon']) as role
where not exists (select from pg_roles where rolname = role) \gexec
select format('alter role %I login nocreatedb nocreaterole', role)
from unnest(array['finetuned_migrate', 'finetuned_daemon']) as role \gexec
select format('alter role finetuned_migrate password %L', :'migrate_password')
where :'migrate_password' <> '' \gexec
select format('alter role finetuned_daemon password %L', :'daemon_password')
where :'daemon_password' <> '' \gexec

-- Who is no superuser can give a database only to a role it is a member of.
select format('grant finetuned_migrate to %I', current_user) where not :'is_superuser'::bool \gexec
-- From template0: UTF-8 whatever the cluster was made with, and names that sort the same everywhere.
select format($$create database %I owner finetuned_migrate template template0 encoding 'UTF8' locale 'C.UTF-8'$$,
              :'database')
where not exists (select from pg_database where datname = :'database') \gexec
select format('alter database %I owner to finetuned_migrate', :'database') \gexec

-- Only the two may connect. The owner may do all; the daemon gets its rights on tables from `finetuned migrate`.
select format('revoke all on database %I from public', :'database') \gexec
select format('grant connect on database %I to finetuned_daemon', :'database') \gexec

-- A commit that was answered must be on disk, whatever is the cluster's default: runs are admitted by it.
-- Admission locks rows in one statement and reads in the next, which needs a new snapshot for each.
select format('alter role finetuned_daemon in database %I set %s', :'database', setting)
from unnest(array['synchronous_commit = on', 'default_transaction_isolation = ''read committed''']) as setting \gexec
SQL
