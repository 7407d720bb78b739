"""Faults of Postgres, and of the connections between it and the daemons."""
import contextlib
import os
import signal
import subprocess
import time

from edges import flapping, held, refused, reset, slow
from faults import kind
import stack as stacks
import support

ALL = "pg:*"


def edge_of(chance):
    """The connections of one daemon, or of all."""
    return chance.choice([f"pg:{name}" for name in stacks.DAEMONS] + [ALL])


# ---- The server.

def end_server(world, number):
    part = world.stack.part("postgres")
    starts = part.starts
    part.send(number)
    return starts


def server_is_back(world, starts):
    world.stack.restarted("postgres", starts)
    world.stack.wait_for_postgres()


@kind("postgres", spares_leases=True)
def pg_restarted_fast(world, chance):
    starts = end_server(world, signal.SIGINT)
    yield chance.uniform(0.2, 0.6)
    server_is_back(world, starts)


@kind("postgres", spares_leases=True)
def pg_restarted_immediate(world, chance):
    starts = end_server(world, signal.SIGQUIT)
    yield chance.uniform(0.2, 0.6)
    server_is_back(world, starts)


@kind("postgres")
def pg_postmaster_killed(world, chance):
    """The next one starts only when the last process of the old one is gone."""
    starts = end_server(world, signal.SIGKILL)
    yield chance.uniform(0.2, 0.6)
    server_is_back(world, starts)


@kind("postgres")
def pg_down_long(world, chance):
    """Longer than any lease: afterwards each gets its full time again, but workers have stopped their trainers."""
    world.stack.supervisor.want("postgres", False)
    starts = end_server(world, signal.SIGINT)
    yield chance.uniform(stacks.REASSIGN + 1, stacks.REASSIGN + 6)
    world.stack.supervisor.want("postgres")
    server_is_back(world, starts)


def backends(world):
    """Process ids of the daemons' connections."""
    found = world.stack.sql("select pid from pg_stat_activity where usename = 'finetuned_daemon'", database="postgres")
    return [int(pid) for pid in found.split()]


@kind("postgres", spares_leases=True)
def pg_backend_killed(world, chance):
    """kill -9 of one backend: the server ends all others and recovers."""
    pids = backends(world)
    if pids:
        os.kill(chance.choice(sorted(pids)), signal.SIGKILL)
    yield chance.uniform(0.2, 0.6)
    world.stack.wait_for_postgres()


@kind("postgres", spares_leases=True)
def pg_backends_terminated(world, chance):
    for _ in range(chance.randint(1, 3)):
        world.stack.sql("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'finetuned_daemon'",
                        database="postgres")
    yield 0.3


@kind("postgres", spares_leases=True)
def pg_statements_canceled(world, chance):
    for _ in range(chance.randint(3, 10)):
        world.stack.sql("select pg_cancel_backend(pid) from pg_stat_activity where usename = 'finetuned_daemon' "
                        "and state <> 'idle'", database="postgres")
    yield 0.2


def freeze_server(world, number):
    for process in support.processes():
        # Read once: it may be gone at the next look.
        argv = process.argv
        if argv and "postgres" in argv[0] and str(world.stack.pg) in process.cwd + argv[-1]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, number)


@kind("postgres", spares_leases=True)
def pg_frozen_short(world, chance):
    freeze_server(world, signal.SIGSTOP)
    yield chance.uniform(0.3, 1)
    freeze_server(world, signal.SIGCONT)


@kind("postgres")
def pg_frozen_past_the_lease(world, chance):
    freeze_server(world, signal.SIGSTOP)
    yield chance.uniform(stacks.REASSIGN, stacks.REASSIGN + 3)
    freeze_server(world, signal.SIGCONT)


@kind("postgres")
def pg_read_only(world, chance):
    """As the old primary after a failover: every write is SQLSTATE 25006, and a new connection finds it out at once."""
    world.stack.sql("alter system set default_transaction_read_only = on")
    world.stack.sql("select pg_reload_conf()")
    yield chance.uniform(1, 3)
    world.stack.sql("alter system reset default_transaction_read_only")
    world.stack.sql("select pg_reload_conf()")


def psql_of(stack):
    return list(map(str, [support.postgres_program("psql"), "-X", "-q", "-t", "-A", "-h", stack.pg, "-p", stack.pg_port,
                          "-U", stacks.ADMIN, "-d", "finetuned"]))


class Session:
    """A psql that holds something until it is let go."""

    def __init__(self, stack, *statements):
        self._process = subprocess.Popen(psql_of(stack), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         stderr=subprocess.DEVNULL, text=True, env=stack.environment)
        # Said even where it holds nothing, because a deadlock was resolved at its cost.
        self._process.stdin.write("\n".join([*statements, "\\echo held", ""]))
        self._process.stdin.flush()
        self._process.stdout.readline()

    def let_go(self):
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(10)


@kind("postgres")
def pg_slots_hogged(world, chance):
    """The daemons lose their connections, and find only a few slots free."""
    world.stack.sql(f"alter role finetuned_daemon connection limit {chance.randint(1, 6)}", database="postgres")
    world.stack.sql("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'finetuned_daemon'",
                    database="postgres")
    yield chance.uniform(1, 3)
    world.stack.sql("alter role finetuned_daemon connection limit -1", database="postgres")


@kind("postgres", spares_leases=True)
def pg_rows_locked(world, chance):
    """Somebody holds the rows of all owners and of some runs."""
    session = Session(world.stack, "begin;", "select 1 from owners order by owner_id for update \\g /dev/null",
                      "select 1 from runs where end_time is null and run_id % 2 = 0 order by run_id for update "
                      "\\g /dev/null")
    yield chance.uniform(0.5, 1.5)
    session.let_go()


@kind("postgres", spares_leases=True)
def pg_table_locked(world, chance):
    table = chance.choice(["runs", "leases", "run_queue", "workers", "create_requests"])
    session = Session(world.stack, "begin;", f"lock table {table} in exclusive mode;")
    yield chance.uniform(0.5, 1.5)
    session.let_go()


@kind("postgres", spares_leases=True)
def pg_deadlocks(world, chance):
    """Somebody takes the locks in the wrong order again and again."""
    session = subprocess.Popen(psql_of(world.stack), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL, text=True,
                               env={**world.stack.environment, "PGAPPNAME": "rival"})
    step = ("begin; set local deadlock_timeout = '5s'; select 1 from runs where end_time is null for update; "
            "select pg_sleep(0.05); select 1 from owners for update; commit;\n")
    session.stdin.write(step * chance.randint(5, 15))
    session.stdin.close()
    yield chance.uniform(1, 2)
    session.kill()
    session.wait()
    # Its server process would find that out only after its statement.
    world.stack.sql("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'rival'")


@kind("postgres", spares_leases=True)
def pg_maintenance(world, chance):
    """What an operator does on a weekend, while everybody works."""
    statements = ["vacuum full run_queue", "vacuum (freeze, analyze) runs", "vacuum full leases", "analyze",
                  "reindex table concurrently runs", "reindex table owners", "checkpoint"]
    for statement in chance.sample(statements, 3):
        try:
            world.stack.sql(statement)
        except AssertionError as error:
            # Of a maintenance and the service, the maintenance may be the one that has to be repeated.
            if "deadlock detected" not in str(error):
                raise
    yield 0.2


@kind("postgres", spares_leases=True)
def pg_columns_added(world, chance):
    """The first step of a migration to the next version, and its way back."""
    table = chance.choice(["runs", "owners", "run_events", "leases", "workers"])
    world.stack.sql(f"set lock_timeout = '2s'; alter table {table} add column later int default 7")
    yield chance.uniform(0.5, 1)
    world.stack.sql(f"alter table {table} drop column later")


@kind("postgres")
def pg_stutters(world, chance):
    for _ in range(chance.randint(4, 8)):
        freeze_server(world, signal.SIGSTOP)
        time.sleep(0.4)
        freeze_server(world, signal.SIGCONT)
        time.sleep(0.1)
    yield 0.1


def why_no_full_disk(stack):
    return None if stack.mounted else "Postgres has no file system of its own: only root may mount one"


@kind("postgres", needs=why_no_full_disk)
def pg_disk_full(world, chance):
    """No byte is left for tables nor for the log; a server that gives up over it is started anew."""
    ballast = world.stack.pg / "ballast"
    with open(ballast, "wb") as file:
        with contextlib.suppress(OSError):
            while True:
                os.write(file.fileno(), bytes(1 << 16))
    yield chance.uniform(1, 3)
    ballast.unlink()
    world.stack.wait_for_postgres()


# ---- Commits.

def at_commits(world, chance, action, statement="", seconds=0.0):
    """The next few commits of each daemon; counted by the proxies."""
    count = chance.randint(3, 20)
    world.proxies.do("commits", edge=ALL, action=action, count=count, statement=statement, seconds=seconds)
    yield chance.uniform(0.8, 2)
    world.proxies.do("commits", edge=ALL, action=action, count=0)


@kind("postgres", spares_leases=True)
def commits_cut_before(world, chance):
    yield from at_commits(world, chance, "before")


@kind("postgres", spares_leases=True)
def commits_in_doubt(world, chance):
    yield from at_commits(world, chance, "doubt")


@kind("postgres", spares_leases=True)
def commits_held(world, chance):
    yield from at_commits(world, chance, "hold", seconds=chance.uniform(0.2, 0.6))


@kind("postgres", spares_leases=True)
def creates_cut_before_commit(world, chance):
    yield from at_commits(world, chance, "before", "^admit_runs$")


@kind("postgres", spares_leases=True)
def creates_in_doubt(world, chance):
    yield from at_commits(world, chance, "doubt", "^admit_runs$")


@kind("postgres", spares_leases=True)
def creates_held_past_the_deadline(world, chance):
    """The client has given up and asks again while its first try is about to be committed."""
    yield from at_commits(world, chance, "hold", "^admit_runs$", seconds=5.5)


@kind("postgres", spares_leases=True)
def transitions_in_doubt(world, chance):
    """Cancels, pauses and ends of attempts."""
    yield from at_commits(world, chance, "doubt", "^apply_transitions$|^resume_run$")


@kind("postgres", spares_leases=True)
def reports_in_doubt(world, chance):
    yield from at_commits(world, chance, "doubt", "^store_reports$")


@kind("postgres", spares_leases=True)
def leases_in_doubt(world, chance):
    yield from at_commits(world, chance, "doubt", "^lease_runs$")


@kind("postgres", spares_leases=True)
def renewals_in_doubt(world, chance):
    yield from at_commits(world, chance, "doubt", "^renew_leases$|^touch_sessions$")


# ---- The network between daemons and Postgres.

@kind("postgres", spares_leases=True)
def pg_connections_cut(world, chance):
    yield from reset(world, edge_of(chance), chance, most=5, shortest=0.02, seconds=0.2)


@kind("postgres", spares_leases=True)
def pg_refused(world, chance):
    yield from refused(world, edge_of(chance), chance.uniform(0.4, 1))


@kind("postgres")
def pg_half_open(world, chance):
    """Packets go nowhere, in both directions or one, and come through late or never."""
    edge = edge_of(chance)
    ways = chance.choice([("hold_up", "hold_down"), ("hold_up",), ("hold_down",)])
    yield from held(world, edge, ways, chance.uniform(1, 5), cut=chance.random() < 0.5)


@kind("postgres", spares_leases=True)
def pg_slow_50ms(world, chance):
    yield from slow(world, ALL, 0.025, chance.uniform(2, 4))


@kind("postgres")
def pg_slow_500ms(world, chance):
    yield from slow(world, ALL, 0.25, chance.uniform(2, 4))


@kind("postgres")
def pg_flapping(world, chance):
    yield from flapping(world, edge_of(chance), chance.uniform(0.1, 0.5), chance.uniform(2, 4))


@kind("postgres", spares_leases=True)
def notifications_dropped(world, chance):
    """What another daemon does is found by polling."""
    edge = edge_of(chance)
    world.proxies.do("set", edge=edge, drop_notifications=True)
    yield chance.uniform(2, 8)
    world.proxies.do("heal", edge=edge)
