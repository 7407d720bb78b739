"""One installation to be broken: Postgres, three daemons, three workers, and the proxies between all of them.

All of it lives in one folder on a tmpfs and ends with the process that made it.
"""
import contextlib
import json
import os
import pathlib
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

from paths import HERE, ROOT
from parts import Part, Supervisor
import support
from support import BIN, wait_until

DAEMONS = ("daemon-1", "daemon-2", "daemon-3")
WORKERS = ("worker-1", "worker-2", "worker-3")
USERS = ("ann@example.com", "bob@example.com", "cid@example.com", "dee@example.com")
ACTIVE_LIMIT = 10
HOLDING_LIMIT = 6
SLOTS = 4
# In seconds, as short as the order that the daemon demands and a slow machine allow.
RENEW, SELF_STOP, GRACE, MARGIN, REASSIGN = 0.3, 4.0, 1.0, 0.5, 6.0
STALL_SECONDS = 3
RETRY_DELAY, QUARANTINE = 0.25, 1.0
# How long a trainer that was frozen with its host may still compute beside its successor.
OVERLAP = GRACE + 2
INFRASTRUCTURE_RETRIES = 30
# What the version before does not know; see faults_versions.py.
NEW_SETTINGS = ("stall_retries", "retry_delay_duration", "longest_retry_delay_duration", "quarantine_duration",
                "longest_quarantine_duration")
# File systems of their own, so that they can be full.
DISKS = {"pg": "1g", "store": "512m", "work": "256m"}
COME_UP_SECONDS = 60
# Its exit status; 3 is an error of a statement.
PSQL_NOT_CONNECTED = 2
ADMIN = "finetuned_admin"
# 69: no Postgres yet, or no artifact root (78 in the version before). Of an agent 4: superseded; 5: the agent before is
# not gone.
DAEMON_EXITS, WORKER_EXITS = (0, 69, 78), (0, 4, 5, 69)


def run(argv, **options):
    done = subprocess.run(list(map(str, argv)), stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=support.CALL_SECONDS, **options)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, argv))}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def sanitized():
    """Whether the programs are built with AddressSanitizer."""
    return b"libasan" in (BIN / "finetuned").read_bytes()


class Proxies:
    """The steering connection to proxy.py."""

    def __init__(self, path):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(path))
            self._file = connection.makefile("rw")
        self._lock = threading.Lock()

    def do(self, what, **more):
        with self._lock:
            self._file.write(json.dumps({"do": what, **more}) + "\n")
            self._file.flush()
            answer = json.loads(self._file.readline())
        if "error" in answer:
            raise AssertionError(f"the proxies cannot {what} {more}: {answer['error']}")
        return answer

    def counts(self):
        return self.do("counts")["counts"]

    def close(self):
        self._file.close()


class Stack:
    """Everything that runs, by name, and what can be done to it from outside."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="finetuned-nemesis-", dir="/dev/shm"))
        self.folder.chmod(0o755)
        for name in ("data", "logs", "home", *DISKS):
            (self.folder / name).mkdir()
        self.pg = self.folder / "pg"
        self.ledger = self.folder / "ledger.jsonl"
        self.environment = {**support.clean_environment(self.folder / "home"), "NEMESIS_LEDGER": str(self.ledger),
                            "LSAN_OPTIONS": f"suppressions={ROOT}/tests/lsan.supp:print_suppressions=0"}
        self.supervisor = Supervisor()
        self.mounted = False
        self.proxies = None
        # Paths of checkpoints that a fault has damaged.
        self.spoiled = set()
        self._ports = support.free_ports(40)
        # Of the primary and of a standby, which change places.
        self.pg_ports = [self.port(), self.port()]
        self.pg_data = self.pg / "data"
        self.client_ports = {name: self.port() for name in DAEMONS}
        self.metrics_ports = {name: self.port() for name in DAEMONS}
        self.worker_ports, self.tokens = {}, {}

    @property
    def pg_port(self):
        return self.pg_ports[0]

    def port(self):
        self._ports += 1
        return self._ports - 1

    # ---- Coming up and going away.

    def start(self):
        self.supervisor.start()
        self._start_proxies()
        self._start_postgres()
        self._prepare_database()
        self.artifacts.mkdir()
        for name in DAEMONS:
            self._add_daemon(name)
        for name in DAEMONS:
            wait_until(f"{name} serves", (self.folder / f"{name}.ready").exists, COME_UP_SECONDS)
        for name in WORKERS:
            self.add_worker(name)
        wait_until("all workers have a session", lambda: self.sql("select count(session_id) from workers") == "3",
                   COME_UP_SECONDS)

    def _start_proxies(self):
        path = self.folder / "proxy.sock"
        part = self.supervisor.add(Part("proxy", ["/usr/bin/python3", "-B", HERE / "proxy.py", path], self.environment,
                                        self.log_of("proxy")))
        part.wanted = True

        def connected():
            with contextlib.suppress(OSError):
                return Proxies(path)
        self.proxies = wait_until("the proxies are there", connected, 20)

    def _start_postgres(self):
        user = None
        if os.geteuid() == 0:
            users = [one.pw_name for one in pwd.getpwall()]
            user = "postgres" if "postgres" in users else "nobody"
            self.mounted = all(self._mount(self.folder / name, size) for name, size in DISKS.items())
            shutil.chown(self.pg, user)
        self.pg_user = user
        run([support.postgres_program("initdb"), "-D", self.pg / "data", "-U", ADMIN, "--auth=trust", "--no-sync",
             "--locale=C.UTF-8", "--encoding=UTF8"], **({"user": user} if user else {}))
        self.add_postgres("postgres", self.pg_data, self.pg_port)
        self.wait_for_postgres()

    def add_postgres(self, name, data, port):
        """A server over this cluster, wanted from now on."""
        settings = ["fsync=on", f"port={port}", "listen_addresses=127.0.0.1", f"unix_socket_directories={self.pg}",
                    "max_connections=80", "shared_buffers=32MB", "jit=off", "max_wal_size=64MB", "max_wal_senders=4",
                    "dynamic_shared_memory_type=mmap", "log_line_prefix=%m [%p] %a "]
        argv = [support.postgres_program("postgres"), "-D", data]
        for setting in settings:
            argv += ["-c", setting]
        # Status 1: what a killed one has left is not gone yet. 2: a fault made it give up.
        part = self.supervisor.add(Part(name, argv, self.environment, self.log_of("postgres"), (0, 1, 2), self.pg_user,
                                        signal.SIGINT))
        part.wanted = True
        return part

    @staticmethod
    def _mount(folder, size):
        """Whether it could be; where root may not mount, the kinds that need it say so."""
        return subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "tmpfs", folder],
                              capture_output=True).returncode == 0

    def wait_for_postgres(self):
        def answers():
            with contextlib.suppress(AssertionError, subprocess.TimeoutExpired):
                return self.sql("select 1", database="postgres") == "1"
        wait_until("Postgres answers", answers, COME_UP_SECONDS)

    def _prepare_database(self):
        psql = {"PSQL": str(support.postgres_program("psql")), "PGHOST": str(self.pg), "PGPORT": str(self.pg_port),
                "PGUSER": ADMIN}
        run([ROOT / "deploy/postgres/setup.sh"], env={**self.environment, **psql})
        run([BIN / "finetuned", "migrate", "--set", f"database_url={self.url(ADMIN)}"], env=self.environment)
        self.sql((HERE / "audit.sql").read_text())
        for user in USERS:
            self.tokens[user] = self._token("--principal", user)
        self.admin_token = self._token("--principal", "root@example.com", "--role", "admin")
        for worker in WORKERS:
            token = self._token("--principal", f"{worker}@example.com", "--role", "worker", "--worker", worker)
            (self.folder / f"{worker}.token").write_text(token)

    def _token(self, *args):
        return run([BIN / "finetuned", "token", "create", *args, "--set", f"database_url={self.url(ADMIN)}"],
                   env=self.environment).strip()

    def url(self, role):
        """Past the proxies."""
        return f"host={self.pg} port={self.pg_port} user={role} dbname=finetuned"

    def _add_daemon(self, name, wanted=True):
        pg_edge, worker_port, own = self.port(), self.port(), self.port()
        self.proxies.do("add", name=f"pg:{name}", listen=pg_edge, upstreams=[self.pg_port], postgres=True)
        self.proxies.do("add", name=f"client:{name}", listen=self.client_ports[name], upstreams=[own])
        config = self.folder / f"{name}.yaml"
        config.write_text("\n".join([
            f"database_url: host=127.0.0.1 port={pg_edge} user=finetuned_daemon dbname=finetuned sslmode=disable "
            "gssencmode=disable",
            f"artifact_root: {self.artifacts}", f"data_roots: [{self.folder}/data]",
            f"model_roots: [{ROOT}/trainer/models]", f"listen: 127.0.0.1:{own}",
            f"worker_listen: 127.0.0.1:{worker_port}", f"metrics_listen: 127.0.0.1:{self.metrics_ports[name]}",
            f"active_runs_limit: {ACTIVE_LIMIT}", f"holding_runs_limit: {HOLDING_LIMIT}",
            f"infrastructure_retries: {INFRASTRUCTURE_RETRIES}", "stall_retries: 10",
            f"retry_delay_duration: {RETRY_DELAY}s", f"longest_retry_delay_duration: {8 * RETRY_DELAY}s",
            f"quarantine_duration: {QUARANTINE}s", f"longest_quarantine_duration: {4 * QUARANTINE}s",
            "shutdown_grace_duration: 2s",
            f"ready_file: {self.folder}/{name}.ready",
            f"lease: {{renew_interval_duration: {RENEW}s, self_stop_duration: {SELF_STOP}s, grace_duration: {GRACE}s, "
            f"margin_duration: {MARGIN}s, reassign_duration: {REASSIGN}s}}", ""]))
        self.worker_ports[name] = worker_port
        part = self.supervisor.add(Part(name, [BIN / "finetuned", "serve", "--config", config], self.environment,
                                        self.log_of(name), DAEMON_EXITS))
        part.wanted = wanted

    def add_worker(self, name, work_dir=None):
        """An agent; with a work_dir, a second one of the same name."""
        part_name = name if work_dir is None else f"{name}-twin"
        config = self.folder / f"{part_name}.yaml"
        if part_name not in self.supervisor.parts:
            edge = self.port()
            self.proxies.do("add", name=f"worker:{part_name}", listen=edge,
                            upstreams=[self.worker_ports[daemon] for daemon in DAEMONS])
            config.write_text("\n".join([
                f"daemon: 127.0.0.1:{edge}", f"name: {name}", f"token_file: {self.folder}/{name}.token",
                f"artifact_root: {self.artifacts}", f"work_dir: {work_dir or self.work_dir(name)}",
                f"model_roots: [{ROOT}/trainer/models]",
                f"trainer_command: [/usr/bin/python3, -I, -S, {HERE}/scripted_trainer.py]",
                f"trainer_dir: {self.folder}/data", "pass_environment: [NEMESIS_LEDGER]",
                f"capacity: {{cpus: {SLOTS}, memory_bytes: 17179869184, gpus: 0}}",
                f"trainer_stall_duration: {STALL_SECONDS}s", ""]))
            self.supervisor.add(Part(part_name, [BIN / "finetuned-worker", "--config", config], self.environment,
                                     self.log_of(part_name), WORKER_EXITS))
        self.supervisor.want(part_name, work_dir is None)
        return self.supervisor.parts[part_name]

    def extra_daemon(self):
        """A daemon that nobody calls; wanted only while a fault lasts."""
        if "daemon-4" not in self.supervisor.parts:
            self.metrics_ports["daemon-4"], self.client_ports["daemon-4"] = self.port(), self.port()
            self._add_daemon("daemon-4", wanted=False)
        return self.supervisor.parts["daemon-4"]

    @property
    def artifacts(self):
        """Below the mount, so that it can be moved away."""
        return self.folder / "store/artifacts"

    def work_dir(self, worker):
        return self.folder / "work" / worker

    def log_of(self, name):
        return self.folder / "logs" / f"{name}.log"

    def destroy(self):
        """Ends everything; what then is still there, by its command line: a leak of the product."""
        self.supervisor.want_nothing()
        if self.proxies:
            self.proxies.close()
        for name, part in sorted(self.supervisor.parts.items(), key=lambda item: item[0] in ("proxy", "postgres")):
            if part.alive:
                part.send(signal.SIGCONT)
                part.process.send_signal(signal.SIGINT if name == "postgres" else signal.SIGTERM)
        for part in self.supervisor.parts.values():
            if part.process is not None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    part.process.wait(15)
        self.supervisor.stop()
        left = [repr(process) for process in self.processes()]
        for process in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        wait_until("nothing is left", lambda: not self.processes(), 15)
        for pid in (pid for part in self.supervisor.parts.values() for pid in part.pids):
            # Of libfaketime, which cleans up only after who ends by itself.
            for name in (f"faketime_shm_{pid}", f"sem.faketime_sem_{pid}"):
                pathlib.Path("/dev/shm", name).unlink(missing_ok=True)
        for name in DISKS if self.mounted else ():
            subprocess.run(["umount", "-l", self.folder / name], check=False)
        return left

    def remove(self):
        shutil.rmtree(self.folder, ignore_errors=True)

    # ---- Looking in.

    def sql(self, text, database="finetuned", seconds=support.CALL_SECONDS, port=None):
        """Waits for a server that a fault beside this one has just killed, and that is being started anew."""
        def answer():
            done = subprocess.run([support.postgres_program("psql"), "-X", "-q", "-t", "-A", "-v", "ON_ERROR_STOP=1",
                                   "-h", self.pg, "-p", str(port or self.pg_port), "-U", ADMIN, "-d", database,
                                   "-f", "-"],
                                  input=text, capture_output=True, text=True, timeout=seconds, env=self.environment)
            if done.returncode not in (0, PSQL_NOT_CONNECTED):
                raise AssertionError(f"psql: {done.stderr}")
            return done if done.returncode == 0 else None
        return wait_until("Postgres answers psql", answer, seconds).stdout.strip()

    def processes(self):
        """All that live and belong to this stack, whoever their parent is by now."""
        return support.processes_of(self.folder)

    def trainers(self):
        return [process for process in self.processes() if any("scripted_trainer.py" in arg for arg in process.argv)
                and not any("finetuned-shim" in arg for arg in process.argv)]

    def processes_of_worker(self, worker):
        """The agent, its shims and their trainers."""
        found = support.processes_of(self.work_dir(worker))
        part = self.supervisor.parts[worker]
        return found + ([support.Process(part.pid)] if part.pid and part.pid not in {p.pid for p in found} else [])

    def part(self, name):
        return self.supervisor.parts[name]

    def restarted(self, name, starts):
        """Waits until the supervisor has started a part anew."""
        wait_until(f"{name} is started anew", lambda: self.part(name).starts > starts and self.part(name).alive, 20)

    def logs(self):
        return sorted((self.folder / "logs").glob("*.log"))

    def boot_ns(self):
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
