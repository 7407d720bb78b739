"""Faults of workers: agents, shims, trainers, their hosts, and the artifact root."""
import contextlib
import os
import signal
import time

from faults import kind
from faults_daemon import come_back, kill
import stack as stacks
import support

PAST_THE_LEASE = stacks.REASSIGN + 1


def one_worker(chance):
    return chance.choice(stacks.WORKERS)


def signal_all(processes, number):
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, number)


def of_kind(processes, word):
    """Shims or trainers among the processes of a worker."""
    return [process for process in processes if process.argv and any(word in arg for arg in process.argv[:5])]


@kind("worker", spares_leases=True)
def agent_killed(world, chance):
    """Its trainers go on, and the next agent adopts them."""
    starts = kill(world, [one_worker(chance)], signal.SIGKILL)
    yield chance.uniform(0.1, 1)
    come_back(world, starts)


@kind("worker", spares_leases=True)
def agent_terminated(world, chance):
    name = one_worker(chance)
    starts = world.stack.part(name).starts
    world.stack.part(name).send(signal.SIGTERM)
    yield chance.uniform(0.5, 1)
    world.stack.restarted(name, starts)


@kind("worker")
def agents_all_killed(world, chance):
    starts = kill(world, stacks.WORKERS, signal.SIGKILL)
    yield chance.uniform(0.1, 1)
    come_back(world, starts)


@kind("worker")
def host_killed(world, chance):
    """The agent, its shims and their trainers at once."""
    name = one_worker(chance)
    starts = {name: world.stack.part(name).starts}
    world.stack.part(name).killed = True
    signal_all(world.stack.processes_of_worker(name), signal.SIGKILL)
    yield chance.uniform(0.2, 1)
    come_back(world, starts)


@kind("worker", spares_leases=True)
def host_frozen_short(world, chance):
    frozen = world.stack.processes_of_worker(one_worker(chance))
    signal_all(frozen, signal.SIGSTOP)
    yield chance.uniform(0.3, 1)
    signal_all(frozen, signal.SIGCONT)


@kind("worker")
def host_frozen_past_the_lease(world, chance):
    """Its runs are given away while it sleeps; what it wants to write afterwards is stale."""
    frozen = world.stack.processes_of_worker(one_worker(chance))
    signal_all(frozen, signal.SIGSTOP)
    yield chance.uniform(PAST_THE_LEASE, PAST_THE_LEASE + 2)
    signal_all(frozen, signal.SIGCONT)


@kind("worker")
def agent_frozen_past_the_lease(world, chance):
    """The shims have to stop the trainers by themselves."""
    part = world.stack.part(one_worker(chance))
    part.send(signal.SIGSTOP)
    yield chance.uniform(PAST_THE_LEASE, PAST_THE_LEASE + 2)
    part.send(signal.SIGCONT)


@kind("worker")
def trainers_killed(world, chance):
    trainers = world.stack.trainers()
    signal_all(chance.sample(trainers, min(3, len(trainers))), signal.SIGKILL)
    yield 0.3


@kind("worker")
def trainers_frozen(world, chance):
    """Silent for longer than a trainer may be."""
    trainers = world.stack.trainers()
    frozen = chance.sample(trainers, min(2, len(trainers)))
    signal_all(frozen, signal.SIGSTOP)
    yield stacks.STALL_SECONDS + stacks.GRACE + 1
    signal_all(frozen, signal.SIGCONT)


@kind("worker")
def shims_killed(world, chance):
    shims = of_kind(world.stack.processes(), "finetuned-shim")
    signal_all(chance.sample(shims, min(2, len(shims))), signal.SIGKILL)
    yield 0.3


@kind("worker")
def agent_twin(world, chance):
    """A second agent of the same name on another work_dir: the first is superseded and then takes its name back."""
    name = one_worker(chance)
    work_dir = world.stack.work_dir("twin-of-" + name)
    part = world.stack.add_worker(name, work_dir=work_dir)
    part.start()
    yield chance.uniform(1.5, 3)
    part.send(signal.SIGKILL)
    signal_all(support.processes_of(work_dir), signal.SIGKILL)


@kind("worker")
def everything_killed(world, chance):
    """As when the power goes: daemons, Postgres, agents, shims and trainers at one moment."""
    names = ["postgres", *stacks.DAEMONS, *stacks.WORKERS]
    starts = {name: world.stack.part(name).starts for name in names}
    for name in names:
        world.stack.part(name).send(signal.SIGKILL)
    for name in stacks.WORKERS:
        signal_all(world.stack.processes_of_worker(name), signal.SIGKILL)
    yield chance.uniform(0.2, 1)
    come_back(world, starts)
    world.stack.wait_for_postgres()


@kind("worker", spares_leases=True)
def worker_drained(world, chance):
    """Nothing new for it for a while; what runs there goes on, or is stopped with a checkpoint and queued again."""
    name, stop_runs = one_worker(chance), chance.random() < 0.5
    world.load.do("drain_worker", worker=name, undo=False, stop_runs=stop_runs, token=world.stack.admin_token)
    yield chance.uniform(1, 3)
    world.load.do("drain_worker", worker=name, undo=True, stop_runs=False, token=world.stack.admin_token)


@kind("worker")
def trainers_misbehave(world, chance):
    """For a while most new runs end badly, hang, lie, flood or leave children behind."""
    modes = ["exit_1", "exit_75", "signal", "hang", "deaf", "forks", "exits_early", "half_checkpoint", "flood",
             "bad_utf8", "old_stamps"]
    world.load.do("modes", weights={mode: 1 for mode in [*chance.sample(modes, 4), "ok"]})
    yield chance.uniform(3, 5)
    world.load.do("modes", weights=None)


@kind("worker")
def artifact_root_gone(world, chance):
    """As a file system that is not mounted."""
    root = world.stack.artifacts
    root.rename(root.with_name("artifacts.away"))
    yield chance.uniform(0.5, 2)
    back(root)


def back(root):
    """Moves it back over whatever was made there meanwhile."""
    for number in range(100):
        if not root.exists():
            break
        with contextlib.suppress(OSError):
            root.rename(root.with_name(f"artifacts.made-{time.monotonic_ns()}-{number}"))
    root.with_name("artifacts.away").rename(root)


def why_no_full_disks(stack):
    return None if stack.mounted else "there are no file systems of its own: only root may mount them"


def full(folder, seconds):
    ballast = folder / "ballast"
    with open(ballast, "wb") as file, contextlib.suppress(OSError):
        while True:
            os.write(file.fileno(), bytes(1 << 16))
    yield seconds
    ballast.unlink()


@kind("worker", needs=why_no_full_disks)
def artifact_root_full(world, chance):
    yield from full(world.stack.artifacts.parent, chance.uniform(0.5, 2))


@kind("worker", needs=why_no_full_disks)
def work_dirs_full(world, chance):
    """No agent can keep a journal."""
    yield from full(world.stack.folder / "work", chance.uniform(0.5, 3))


@kind("worker")
def checkpoint_damaged(world, chance):
    """A byte of a run's newest checkpoint flips while the run changes hands."""
    lines = sorted(world.look(
        "select distinct on (run_id) r.name, c.path from checkpoints c join runs r using (run_id) "
        "where r.state in ('RUNNING', 'PAUSED') order by run_id, step desc"))
    if lines:
        name, path = chance.choice(lines).split("|")
        world.stack.spoiled.add(path)
        signal_all([process for process in world.stack.trainers()
                    if process.environment.get("FINETUNED_RUN_NAME") == name], signal.SIGKILL)
        # Before anybody goes on from it: what rots after it was verified, nobody can promise anything about.
        flip(world.stack.artifacts / path / "weights.bin", chance)
    yield 0.3


def flip(file, chance):
    with contextlib.suppress(FileNotFoundError):
        data = bytearray(file.read_bytes())
        data[chance.randrange(len(data))] ^= 1
        file.chmod(0o644)
        file.write_bytes(data)


@kind("worker")
def stale_writers(world, chance):
    """Somebody with a worker's own token writes for attempts that are over, or for another session."""
    rows = world.look("select w.name, w.session_id, a.run_id, a.epoch from run_attempts a join workers w using "
                      "(worker_id) where a.end_time is not null order by a.end_time desc limit 20")
    for row in chance.sample(rows, min(5, len(rows))):
        worker, session, run_id, epoch = row.split("|")
        world.load.do("stale_write", worker=worker, session=int(session or 0), run_id=int(run_id), epoch=int(epoch),
                      token=(world.stack.folder / f"{worker}.token").read_text(), port=world.stack.worker_ports[
                          chance.choice(stacks.DAEMONS)])
    yield 0.1
