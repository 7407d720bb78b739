"""The processes of a stack: each is wanted or not, and a supervisor starts again what was killed.

A part that ends by itself with a status that is not among its `fair_exits` is remembered as a crash.
"""
import ctypes
import os
import pwd
import signal
import subprocess
import threading
import time

PR_SET_PDEATHSIG = 1
RESTART_PAUSE = 0.3
LOOK_PAUSE = 0.05


def die_with_parent(number):
    """Runs in a child. The parent is the thread that started it, which is the supervisor's."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)


class Part:
    """One process that is to run while it is wanted."""

    def __init__(self, name, argv, env, log, fair_exits=(0,), user=None, death_signal=signal.SIGTERM):
        self.name, self.argv, self.env, self.log = name, argv, env, log
        self.fair_exits, self.user, self.death_signal = fair_exits, user, death_signal
        self.extra_env = {}
        self.process = None
        self.wanted = False
        self.starts = 0
        self.pids = []
        self.ended_at = 0.0
        self.killed = False

    @property
    def pid(self):
        return self.process.pid if self.alive else None

    @property
    def alive(self):
        return self.process is not None and self.process.poll() is None

    def start(self):
        as_user = {}
        if self.user:
            as_user = {"user": self.user, "group": pwd.getpwnam(self.user).pw_gid, "extra_groups": []}
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                list(map(str, self.argv)), env={**self.env, **self.extra_env}, stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, preexec_fn=lambda: die_with_parent(self.death_signal), **as_user)
        self.starts += 1
        self.pids.append(self.process.pid)
        self.killed = False

    def send(self, number):
        """A signal; whether there was somebody to get it. The end that may follow is no crash."""
        if not self.alive:
            return False
        if number not in (signal.SIGSTOP, signal.SIGCONT):
            self.killed = True
        os.kill(self.process.pid, number)
        return True


class Supervisor(threading.Thread):
    """Starts wanted parts that do not run, and notes how they ended."""

    def __init__(self):
        super().__init__(daemon=True)
        self.parts = {}
        self.crashes = []
        self.ends = []
        self._lock = threading.RLock()
        self._end = threading.Event()

    def add(self, part):
        with self._lock:
            self.parts[part.name] = part
        return part

    def replace(self, name, by):
        """The part `by` is the one called `name` from now on; the one before, which is not wanted any more, is forgotten."""
        with self._lock:
            part = self.parts.pop(by)
            part.starts += self.parts[name].starts
            part.name = name
            self.parts[name] = part

    def want(self, name, wanted=True):
        with self._lock:
            self.parts[name].wanted = wanted

    def run(self):
        while not self._end.wait(LOOK_PAUSE):
            with self._lock:
                for part in self.parts.values():
                    self._look(part)

    def _look(self, part):
        if part.process is not None and part.process.returncode is None and part.process.poll() is not None:
            self._note_end(part)
        if part.wanted and not part.alive and time.monotonic() - part.ended_at > RESTART_PAUSE:
            part.start()

    def _note_end(self, part):
        part.ended_at = time.monotonic()
        status = part.process.returncode
        self.ends.append((part.name, status, part.killed))
        if not part.killed and part.wanted and status not in part.fair_exits:
            self.crashes.append(f"{part.name} (start {part.starts}) ended by itself with status {status}: {part.log}")

    def want_nothing(self):
        with self._lock:
            for part in self.parts.values():
                part.wanted = False

    def stop(self):
        """With this thread all that it started ends."""
        self.want_nothing()
        self._end.set()
        self.join(10)
