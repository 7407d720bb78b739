"""Two versions side by side: programs of the version before take the place of ours for a while.

FINETUNED_BIN_BEFORE names the folder with them. The schema stays that of the newer version.
"""
import os
import pathlib
import signal

from faults import kind
import stack as stacks
from support import wait_until

BEFORE = os.environ.get("FINETUNED_BIN_BEFORE")


def needs_before(_):
    return None if BEFORE else "FINETUNED_BIN_BEFORE names no programs of the version before"


def without_new_settings(text):
    """A configuration as the version before knows it: an unknown setting is refused."""
    return "\n".join(line for line in text.split("\n") if line.partition(":")[0] not in stacks.NEW_SETTINGS)


class Exchanged:
    """Parts whose programs are others for a while, told to stop one after the other as in a rolling upgrade."""

    def __init__(self, world, names):
        self.world = world
        self.parts = [world.stack.part(name) for name in names]
        self.before = [(list(part.argv), pathlib.Path(part.argv[-1]).read_text()) for part in self.parts]

    def restart(self, part, argv, config):
        pathlib.Path(argv[-1]).write_text(config)
        starts = part.starts
        part.argv = argv
        part.send(signal.SIGTERM)
        self.world.stack.restarted(part.name, starts)
        if part.name in stacks.DAEMONS:
            ready = self.world.stack.folder / f"{part.name}.ready"
            wait_until(f"{part.name} serves", lambda: ready.exists() and f'"pid":{part.pid}' in ready.read_text(), 20)

    def back(self):
        for part, (argv, config) in zip(self.parts, self.before):
            self.restart(part, [pathlib.Path(BEFORE) / pathlib.Path(argv[0]).name, *argv[1:]],
                         without_new_settings(config))

    def forth(self):
        for part, (argv, config) in zip(self.parts, self.before):
            self.restart(part, argv, config)


@kind("daemon", spares_leases=True, needs=needs_before)
def daemon_of_the_version_before(world, chance):
    exchanged = Exchanged(world, [chance.choice(stacks.DAEMONS)])
    exchanged.back()
    yield chance.uniform(1, 3)
    exchanged.forth()


@kind("daemon", spares_leases=True, needs=needs_before)
def daemons_rolled_back_and_forth(world, chance):
    exchanged = Exchanged(world, stacks.DAEMONS)
    exchanged.back()
    yield chance.uniform(0.5, 2)
    exchanged.forth()


@kind("worker", spares_leases=True, needs=needs_before)
def agents_of_the_version_before(world, chance):
    """Trainers go on; the agents of either version adopt those of the other."""
    exchanged = Exchanged(world, chance.sample(stacks.WORKERS, 2))
    exchanged.back()
    yield chance.uniform(1, 3)
    exchanged.forth()
