"""The catalogue of faults: every kind by its name, what it needs, and what it may cost.

A kind is a generator: it injects, yields how many seconds it wants to last, and heals when it is resumed. It draws all
chances from the generator of random numbers that it is given, so a plan's seed decides them.
"""
import contextlib
import dataclasses
import subprocess
import time

LOOK_SECONDS = 3
KINDS = {}
GROUPS = ("daemon", "postgres", "network", "worker", "client")


@dataclasses.dataclass(frozen=True)
class Kind:
    """One kind of fault. `spares_leases`: an outage shorter than self_stop, in which no healthy attempt may be lost."""
    name: str
    group: str
    body: object
    spares_leases: bool
    needs: object


def kind(group, spares_leases=False, needs=lambda stack: None):
    """Registers a generator `body(world, chance)`. `needs(stack)` says why it cannot be here, or nothing."""
    def register(body):
        KINDS[body.__name__] = Kind(body.__name__, group, body, spares_leases, needs)
        return body
    return register


@dataclasses.dataclass
class World:
    """What a fault acts on."""
    stack: object
    load: object

    @property
    def proxies(self):
        return self.stack.proxies

    def look(self, query):
        """The lines of an answer; none where another fault has taken the database away."""
        try:
            return self.stack.sql(query, seconds=LOOK_SECONDS).splitlines()
        except (AssertionError, subprocess.TimeoutExpired):
            return []


class Injected:
    """One fault from its injection to its healing."""

    def __init__(self, chosen, world, chance):
        self.kind = chosen
        self._generator = chosen.body(world, chance)
        self.began = time.monotonic_ns()
        self.seconds = next(self._generator)

    def heal(self):
        """When the fault was healed, on the monotonic clock."""
        with contextlib.suppress(StopIteration):
            next(self._generator)
            raise AssertionError(f"{self.kind.name} wants to last twice")
        return time.monotonic_ns()


def load_all():
    """Imports the files in which the kinds stand."""
    import faults_daemon, faults_failover, faults_network  # noqa: E401, F401
    import faults_postgres, faults_versions, faults_worker  # noqa: E401, F401
    return KINDS
