"""Faults of daemons: killed, told to stop, frozen, added and taken away, and with wrong clocks."""
import pathlib
import resource
import signal
import time

from faults import kind
import stack as stacks
from support import wait_until

FAKETIME = pathlib.Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")
ASAN = pathlib.Path("/lib/x86_64-linux-gnu/libasan.so.8")


def one_daemon(chance):
    return chance.choice(stacks.DAEMONS)


def come_back(world, starts):
    """Waits until the supervisor has started these parts anew; name -> starts before."""
    for name, before in starts.items():
        world.stack.restarted(name, before)


def kill(world, names, number):
    starts = {name: world.stack.part(name).starts for name in names if world.stack.part(name).send(number)}
    return starts


@kind("daemon", spares_leases=True)
def daemon_killed(world, chance):
    starts = kill(world, [one_daemon(chance)], signal.SIGKILL)
    yield chance.uniform(0.1, 1)
    come_back(world, starts)


@kind("daemon", spares_leases=True)
def daemons_all_killed(world, chance):
    starts = kill(world, stacks.DAEMONS, signal.SIGKILL)
    yield chance.uniform(0.1, 0.5)
    come_back(world, starts)


@kind("daemon", spares_leases=True)
def daemons_killed_in_turn(world, chance):
    for name in chance.sample(stacks.DAEMONS, 3):
        starts = kill(world, [name], signal.SIGKILL)
        come_back(world, starts)
        time.sleep(chance.uniform(0.1, 0.6))
    yield 0.2


@kind("daemon", spares_leases=True)
def daemon_terminated(world, chance):
    """SIGTERM: it finishes what is in flight, and the next one takes over."""
    name = one_daemon(chance)
    part = world.stack.part(name)
    starts = part.starts
    part.send(signal.SIGTERM)
    yield 0.5
    world.stack.restarted(name, starts)


@kind("daemon", spares_leases=True)
def daemon_frozen_short(world, chance):
    part = world.stack.part(one_daemon(chance))
    part.send(signal.SIGSTOP)
    yield chance.uniform(0.3, 1)
    part.send(signal.SIGCONT)


@kind("daemon")
def daemon_frozen_past_the_lease(world, chance):
    """What it had decided before is stale when it goes on."""
    part = world.stack.part(one_daemon(chance))
    part.send(signal.SIGSTOP)
    yield chance.uniform(stacks.REASSIGN + 0.5, stacks.REASSIGN + 3)
    part.send(signal.SIGCONT)


@kind("daemon")
def daemons_all_frozen_past_the_lease(world, chance):
    """Nobody can renew and nobody looks; what has expired then is looked at by daemons that slept as long."""
    for name in stacks.DAEMONS:
        world.stack.part(name).send(signal.SIGSTOP)
    yield chance.uniform(stacks.REASSIGN + 1, stacks.REASSIGN + 6)
    for name in chance.sample(stacks.DAEMONS, 3):
        world.stack.part(name).send(signal.SIGCONT)
        time.sleep(chance.uniform(0, 0.5))


@kind("daemon")
def daemon_stutters(world, chance):
    """A machine that is far too busy: a tenth of a second in half a second, now and then."""
    part = world.stack.part(one_daemon(chance))
    for _ in range(chance.randint(4, 8)):
        part.send(signal.SIGSTOP)
        time.sleep(0.4)
        part.send(signal.SIGCONT)
        time.sleep(0.1)
    yield 0.1


def why_files_are_needed(_stack):
    return "the sanitizers in the programs open files themselves" if stacks.sanitized() else None


@kind("daemon", needs=why_files_are_needed)
def daemon_out_of_files(world, chance):
    """It can open nothing more: no connection is accepted, none to Postgres opened."""
    part = world.stack.part(one_daemon(chance))
    pid = part.pid
    if pid:
        limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        open_now = len(list(pathlib.Path(f"/proc/{pid}/fd").iterdir()))
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (max(8, open_now - 2), limits[1]))
    world.proxies.do("cut", edge=f"*:{part.name}")
    yield chance.uniform(1, 3)
    if pid and part.pid == pid:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)


@kind("daemon", spares_leases=True)
def daemon_removed(world, chance):
    name = one_daemon(chance)
    part = world.stack.part(name)
    starts = part.starts
    world.stack.supervisor.want(name, False)
    part.send(signal.SIGTERM)
    yield chance.uniform(1, 3)
    world.stack.supervisor.want(name)
    world.stack.restarted(name, starts)


@kind("daemon", spares_leases=True)
def daemon_added(world, chance):
    """A fourth one for a while: its loops take part at once."""
    part = world.stack.extra_daemon()
    world.stack.supervisor.want(part.name)
    yield chance.uniform(1.5, 3)
    world.stack.supervisor.want(part.name, False)
    part.send(chance.choice([signal.SIGTERM, signal.SIGKILL]))


def why_no_wrong_clocks(_stack):
    return None if FAKETIME.exists() else "libfaketime is not installed"


def with_clock(world, chance, setting):
    """One daemon is started anew under a clock of its own, and afterwards under the right one."""
    name = one_daemon(chance)
    part = world.stack.part(name)
    # A sanitizer's library has to be the first.
    preload = f"{ASAN}:{FAKETIME}" if ASAN.exists() and stacks.sanitized() else str(FAKETIME)
    for env in ({"LD_PRELOAD": preload, "FAKETIME": setting, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}, {}):
        starts = part.starts
        part.extra_env = env
        part.send(signal.SIGKILL)
        world.stack.restarted(name, starts)
        if env:
            wait_until(f"{name} runs under {setting}", lambda: b"FAKETIME" in (
                pathlib.Path(f"/proc/{part.pid}/environ").read_bytes() if part.pid else b""), 10)
            yield chance.uniform(2, 4)


@kind("daemon", spares_leases=True, needs=why_no_wrong_clocks)
def daemon_clock_ahead(world, chance):
    yield from with_clock(world, chance, "+1h")


@kind("daemon", spares_leases=True, needs=why_no_wrong_clocks)
def daemon_clock_behind(world, chance):
    yield from with_clock(world, chance, "-1h")


@kind("daemon", spares_leases=True, needs=why_no_wrong_clocks)
def daemon_clock_fast(world, chance):
    yield from with_clock(world, chance, "+0 x1.1")


@kind("daemon", spares_leases=True, needs=why_no_wrong_clocks)
def daemon_clock_slow(world, chance):
    yield from with_clock(world, chance, "+0 x0.9")
