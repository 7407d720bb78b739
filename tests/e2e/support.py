"""What the end-to-end tests share: a `finetuned dev` of their own, the CLI, and a look at /proc.

The programs are those in $FINETUNED_BIN. Every wait has a deadline and looks at what it waits for.
"""
import ctypes
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("FINETUNED_BIN", ROOT / "build/dev/bin"))
TRAINER_PYTHON = ROOT / "build/venv/bin/python3"
# Where tools/install_deps.sh puts what it unpacks.
PROMETHEUS_BIN = ROOT / "build/prometheus/usr/bin"
POSTGRES_BINS = ("/usr/lib/postgresql/15/bin", "/opt/finetuned/postgresql/usr/lib/postgresql/15/bin")
PR_SET_PDEATHSIG = 1
COME_UP_SECONDS = 90
STOP_SECONDS = 60
CALL_SECONDS = 60


def wait_until(what, condition, seconds, pause=0.05):
    """The first true value of condition(), which is asked again and again; AssertionError after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(pause)


def postgres_program(name):
    """The path of one of Postgres 15's programs."""
    found = [path for folder in POSTGRES_BINS if (path := pathlib.Path(folder) / name).exists()]
    if not found:
        raise AssertionError(f"{name} is in none of {POSTGRES_BINS}")
    return found[0]


def free_ports(count):
    """The first of `count` ports in a row that nobody listens on now."""
    for base in range(21000 + os.getpid() % 4000, 30000, 7):
        sockets = []
        try:
            for port in range(base, base + count):
                sockets.append(socket.socket())
                sockets[-1].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sockets[-1].bind(("127.0.0.1", port))
            return base
        except OSError:
            pass
        finally:
            for one in sockets:
                one.close()
    raise AssertionError("no free ports")


def die_with_parent():
    """Runs in a child: a test that is killed leaves nothing behind."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def make_folder():
    """A folder that the user Postgres runs as can reach; mkdtemp's own are for one user."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="finetuned-e2e-", dir="/tmp"))
    folder.chmod(0o755)
    return folder


def clean_environment(home):
    """The caller's, without what would configure the programs, and with a home of its own."""
    kept = {key: value for key, value in os.environ.items()
            if not key.startswith(("FINETUNE", "PG", "XDG_"))}
    return {**kept, "HOME": str(home), "NO_COLOR": "1"}


class Process:
    """One look at a process of /proc. Gone processes have empty fields."""

    def __init__(self, pid):
        self.pid = pid

    def _read(self, file):
        try:
            return pathlib.Path(f"/proc/{self.pid}/{file}").read_bytes()
        except OSError:
            return b""

    @property
    def argv(self):
        return [part.decode("utf-8", "replace") for part in self._read("cmdline").split(b"\0")[:-1]]

    @property
    def environment(self):
        pairs = (part.decode("utf-8", "replace").partition("=") for part in self._read("environ").split(b"\0"))
        return {key: value for key, _, value in pairs}

    @property
    def cwd(self):
        try:
            return os.readlink(f"/proc/{self.pid}/cwd")
        except OSError:
            return ""

    @property
    def alive(self):
        """Not a zombie: a zombie holds and does nothing."""
        stat = self._read("stat")
        return bool(stat) and stat.rpartition(b")")[2].split()[0] not in (b"Z", b"X")

    def __repr__(self):
        return f"{self.pid} {' '.join(self.argv)[:120]}"


def processes():
    return [Process(int(name)) for name in os.listdir("/proc") if name.isdigit()]


def processes_of(folder):
    """All that live and were started over this data folder, whoever their parent is by now."""
    folder = str(folder)
    found = []
    for process in processes():
        if process.pid == os.getpid():
            continue
        if (any(folder in arg for arg in process.argv) or process.cwd.startswith(folder)
                or any(folder in value for key, value in process.environment.items()
                       if key.startswith("FINETUNED_"))):
            if process.alive:
                found.append(process)
    return found


def trainers_of(run):
    """The live trainers of a run. A process is one from the moment it has the trainer's command line."""
    return [process for process in processes()
            if process.argv[1:3] == ["-m", "trainer"]
            and process.environment.get("FINETUNED_RUN_NAME") == run and process.alive]


class TrainerSampler(threading.Thread):
    """Looks every 50 ms at how many trainers of a run live, and remembers the worst and which there were."""

    def __init__(self, run):
        super().__init__(daemon=True)
        self.run_name = run
        self.seen = set()
        self.together = []
        self.looks = 0
        self._end = threading.Event()

    def run(self):
        while not self._end.wait(0.05):
            live = trainers_of(self.run_name)
            self.looks += 1
            self.seen |= {process.pid for process in live}
            if len(live) > 1:
                self.together.append([process.pid for process in live])

    def stop(self):
        self._end.set()
        self.join()


class Dev:
    """A `finetuned dev` on ports and a data folder of its own, and the CLI towards it."""

    def __init__(self, folder, serve_settings=(), worker_settings=()):
        self.folder = folder
        self.data_dir = folder / "dev"
        self.home = folder / "home"
        self.home.mkdir(exist_ok=True)
        self.port = free_ports(3)
        self.settings = [part for setting in serve_settings for part in ("--serve-set", setting)]
        self.settings += [part for setting in worker_settings for part in ("--worker-set", setting)]
        self.environment = clean_environment(self.home)
        self.process = None

    def argv(self):
        return [BIN / "finetuned", "dev", "--data-dir", self.data_dir, "--port", str(self.port),
                "--trainer-dir", ROOT, "--trainer-python", TRAINER_PYTHON, *self.settings]

    def start(self):
        with open(self.folder / "dev.log", "ab") as log:
            self.process = subprocess.Popen(self.argv(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env=self.environment, preexec_fn=die_with_parent)
        self.wait_until_ready()

    def wait_until_ready(self):
        def ready():
            if self.process.poll() is not None:
                raise AssertionError(f"finetuned dev ended with {self.process.returncode}:\n{self.logs()}")
            try:
                return int((self.data_dir / "dev.ready").read_text()) == self.process.pid
            except (OSError, ValueError):
                return False
        wait_until("finetuned dev is ready", ready, COME_UP_SECONDS)

    def stop(self):
        """SIGTERM, and its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS)

    def destroy(self):
        """Ends all that is left, without ceremony, and removes the folder."""
        if self.process is not None and self.process.poll() is None:
            try:
                self.stop()
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for process in processes_of(self.folder):
            os.kill(process.pid, signal.SIGKILL)
        wait_until("nothing is left", lambda: not processes_of(self.folder), 10)
        shutil.rmtree(self.folder, ignore_errors=True)

    def logs(self):
        """The ends of all logs, for the report of a failed test."""
        text = []
        for path in [self.folder / "dev.log", *sorted((self.data_dir / "logs").glob("*.log")),
                     self.data_dir / "postgres/postgres.log"]:
            if path.exists():
                text.append(f"---- {path}\n{path.read_text(errors='replace')[-4000:]}")
        return "\n".join(text)

    def service(self, name):
        """The process of one part: `serve`, `worker` or `postgres`; None while there is none."""
        for process in processes():
            argv = process.argv
            if str(self.data_dir) not in " ".join(argv) or not process.alive:
                continue
            program = pathlib.Path(argv[0]).name
            if ((name == "serve" and program == "finetuned" and argv[1] == "serve")
                    or (name == "worker" and program == "finetuned-worker")
                    or (name == "postgres" and program == "postgres")):
                return process
        return None

    def cli_argv(self, *args):
        return [BIN / "finetune", "--context", "dev", *map(str, args)]

    def cli(self, *args, expect=0):
        """Runs the CLI to its end; AssertionError unless it exits with `expect`."""
        done = subprocess.run(self.cli_argv(*args), env=self.environment, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=CALL_SECONDS)
        if done.returncode != expect:
            raise AssertionError(f"finetune {' '.join(map(str, args))}: exit status {done.returncode}, "
                                 f"not {expect}\n{done.stdout}{done.stderr}")
        return done

    def ask(self, *args):
        return json.loads(self.cli(*args, "-o", "json").stdout)

    def events(self, run):
        return self.ask("run", "events", run, "--limit", "100000")["events"]


class Watch:
    """`finetune run watch -o jsonl` in the background. Its events, as they were printed."""

    def __init__(self, dev, run, *args):
        self.run = run
        self.events = []
        self._changed = threading.Condition()
        self._errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen(dev.cli_argv("run", "watch", run, "-o", "jsonl", *args),
                                        env=dev.environment, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=self._errors, text=True,
                                        preexec_fn=die_with_parent)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            event = json.loads(line)
            with self._changed:
                self.events.append(event)
                self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()

    def wait_for(self, what, wanted, seconds, after=0):
        """The first event behind number `after` that wanted(event) is true of."""
        deadline = time.monotonic() + seconds
        looked = 0
        with self._changed:
            while True:
                for event in self.events[looked:]:
                    if int(event["seq"]) > after and wanted(event):
                        return event
                looked = len(self.events)
                left = deadline - time.monotonic()
                if left <= 0 or not self._changed.wait_for(
                        lambda: len(self.events) > looked or not self._reader.is_alive(), left):
                    raise AssertionError(f"not within {seconds} s: {what}; "
                                         f"the newest event is {self.events[-1:]}\n{self.errors()}")
                if len(self.events) == looked:
                    raise AssertionError(f"the watch ended before {what}: exit status {self.process.wait()}"
                                         f"\n{self.errors()}")

    def last_seq(self):
        with self._changed:
            return int(self.events[-1]["seq"]) if self.events else 0

    def errors(self):
        self._errors.seek(0)
        return self._errors.read().decode("utf-8", "replace")

    def finish(self, seconds):
        """Its exit status, when it ends by itself."""
        status = self.process.wait(seconds)
        self._reader.join(10)
        self.process.stdout.close()
        return status
