"""Faults between workers and daemons, between clients and daemons, and of clients themselves."""
import os
import signal
import threading

from edges import flapping, held, refused, reset, slow
from faults import kind
import stack as stacks


def worker_edge(chance):
    return f"worker:{chance.choice(stacks.WORKERS)}"


# ---- Workers.

@kind("network", spares_leases=True)
def worker_connections_reset(world, chance):
    yield from reset(world, worker_edge(chance), chance, most=4, shortest=0.05, seconds=0.2)


@kind("network", spares_leases=True)
def worker_cut_short(world, chance):
    yield from refused(world, worker_edge(chance), chance.uniform(0.3, 1))


@kind("network")
def worker_cut_past_the_lease(world, chance):
    yield from refused(world, worker_edge(chance), chance.uniform(stacks.REASSIGN + 1, stacks.REASSIGN + 3))


@kind("network")
def workers_all_cut_past_the_lease(world, chance):
    yield from refused(world, "worker:*", chance.uniform(stacks.REASSIGN + 1, stacks.REASSIGN + 3))


@kind("network", spares_leases=True)
def worker_half_open_short(world, chance):
    yield from held(world, worker_edge(chance), ("hold_up", "hold_down"), chance.uniform(0.3, 1), cut=False)


@kind("network")
def worker_half_open_long(world, chance):
    yield from held(world, worker_edge(chance), ("hold_up", "hold_down"), chance.uniform(3, stacks.REASSIGN + 3),
                    cut=chance.random() < 0.5)


@kind("network")
def worker_requests_lost(world, chance):
    yield from held(world, worker_edge(chance), ("hold_up",), chance.uniform(1, stacks.REASSIGN + 2),
                    cut=chance.random() < 0.5)


@kind("network")
def worker_answers_lost(world, chance):
    """Renewals arrive and their answers do not: only answered ones may keep a trainer alive."""
    yield from held(world, worker_edge(chance), ("hold_down",), chance.uniform(1, stacks.REASSIGN + 2),
                    cut=chance.random() < 0.5)


@kind("network")
def worker_flapping(world, chance):
    yield from flapping(world, worker_edge(chance), chance.uniform(0.1, 0.6), chance.uniform(2, 5))


@kind("network")
def worker_slow(world, chance):
    yield from slow(world, worker_edge(chance), 0.2, chance.uniform(2, 4))


# ---- Clients.

def client_edge(chance):
    return chance.choice([f"client:{name}" for name in stacks.DAEMONS] + ["client:*"])


@kind("client", spares_leases=True)
def client_connections_reset(world, chance):
    yield from reset(world, client_edge(chance), chance, most=6, shortest=0.05, seconds=0.5)


@kind("client", spares_leases=True)
def client_refused(world, chance):
    yield from refused(world, client_edge(chance), chance.uniform(0.5, 2))


@kind("client", spares_leases=True)
def client_answers_lost(world, chance):
    """What was asked is done, and nobody hears of it."""
    yield from held(world, client_edge(chance), ("hold_down",), chance.uniform(0.3, 2), cut=True)


@kind("client", spares_leases=True)
def client_half_open(world, chance):
    yield from held(world, client_edge(chance), ("hold_up", "hold_down"), chance.uniform(0.5, 3),
                    cut=chance.random() < 0.5)


@kind("client", spares_leases=True)
def client_flapping(world, chance):
    yield from flapping(world, client_edge(chance), chance.uniform(0.1, 0.5), chance.uniform(1, 3))


@kind("client", spares_leases=True)
def client_slow(world, chance):
    yield from slow(world, client_edge(chance), 0.1, chance.uniform(1, 3))


@kind("client", spares_leases=True)
def clients_frozen(world, chance):
    """All users stop in the middle of whatever they do, and read on later."""
    pid, seconds = world.load.process.pid, chance.uniform(0.5, 7)
    os.kill(pid, signal.SIGSTOP)
    # By itself: another fault may have to wait for an answer of the load before it can be healed.
    timer = threading.Timer(seconds, os.kill, (pid, signal.SIGCONT))
    timer.start()
    yield seconds
    timer.join()


@kind("client", spares_leases=True)
def client_dies(world, chance):
    """A client process is killed in the middle of a create."""
    for _ in range(2):
        world.load.do("die", seed=chance.random())
    yield 0.5


@kind("client", spares_leases=True)
def cancel_storm(world, chance):
    """Many cancels of the same runs at one moment, while these end by themselves."""
    world.load.do("storm", kind="cancel", seed=chance.random())
    yield 0.5


@kind("client", spares_leases=True)
def quota_storm(world, chance):
    """Many creates of one owner at one moment, at the limit, through all daemons."""
    world.load.do("storm", kind="create", seed=chance.random())
    yield 0.5
