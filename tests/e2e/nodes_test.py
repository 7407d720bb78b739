#!/usr/bin/env python3
"""Daemon and workers on different hosts: three network namespaces, joined by cables that a test can pull.

The workers join over TLS, each with a token and a certificate of its own. What is refused, and when certificates are
renewed, stands here as well. Needs unshare, nsenter, ip and openssl.
"""
import json
import os
import pathlib
import pwd
import shutil
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import support  # noqa: E402
from support import BIN, ROOT, TRAINER_PYTHON, wait_until  # noqa: E402

JOIN_SECONDS = 60
TRAIN_SECONDS = 240
# Of a network that no host has (RFC 5737). Each worker has a cable of its own to the daemon.
DAEMON = {"node-1": "192.0.2.1", "node-2": "192.0.2.5"}
NODE = {"node-1": "192.0.2.2", "node-2": "192.0.2.6"}
# Short enough for a test, in the order that the daemon demands.
LEASE = ("lease: {renew_interval_duration: 1s, self_stop_duration: 4s, grace_duration: 2s, margin_duration: 1s, "
         "reassign_duration: 8s}\n")


def run(*args, **options):
    done = subprocess.run(list(map(str, args)), stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=support.CALL_SECONDS, **options)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, args))}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


class Network:
    """The daemon's namespace and one for each worker. An ordinary user makes them within a user namespace."""

    def __init__(self):
        self.user = [] if os.geteuid() == 0 else ["-U", "--preserve-credentials"]
        self.holders = {}
        self._hold("daemon", ["unshare", *(["-U", "-r"] if self.user else []), "-n"])
        self.inside("daemon", "ip", "link", "set", "lo", "up")
        for name, address in NODE.items():
            self._hold(name, [*self.enter("daemon"), "unshare", "-n"])
            link = name.replace("-", "")
            self.inside("daemon", "ip", "link", "add", link, "type", "veth", "peer", "name", "up0",
                        "netns", str(self.holders[name].pid))
            self.inside("daemon", "ip", "address", "add", f"{DAEMON[name]}/30", "dev", link)
            self.inside("daemon", "ip", "link", "set", link, "up")
            self.inside(name, "ip", "address", "add", f"{address}/30", "dev", "up0")
            for device in ("lo", "up0"):
                self.inside(name, "ip", "link", "set", device, "up")

    def _hold(self, name, argv):
        process = subprocess.Popen([*argv, "sleep", "infinity"], stdin=subprocess.DEVNULL,
                                   preexec_fn=support.die_with_parent)
        self.holders[name] = process
        wait_until(f"the namespace of {name}", lambda: support.Process(process.pid).argv[:1] == ["sleep"], 10)

    def enter(self, name):
        return ["nsenter", "-t", str(self.holders[name].pid), *self.user, "-n"]

    def inside(self, name, *args, **options):
        return run(*self.enter(name), *args, **options)

    def cut(self, name):
        self.inside("daemon", "ip", "link", "set", name.replace("-", ""), "down")

    def mend(self, name):
        self.inside("daemon", "ip", "link", "set", name.replace("-", ""), "up")

    def close(self):
        for process in self.holders.values():
            process.kill()
            process.wait()


class Authority:
    """Signs certificates, with openssl."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()
        self._openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
                      "-subj", "/CN=Test authority", "-keyout", "ca.key", "-out", "ca.pem")

    @property
    def file(self):
        return self.folder / "ca.pem"

    def sign(self, name, names, days=10):
        """NAME.pem and NAME.key for these names, `DNS:x` or `IP:x`; days below 0: it has expired."""
        (self.folder / f"{name}.ext").write_text(f"subjectAltName={','.join(names)}\n")
        self._openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
                      "-keyout", f"{name}.key", "-out", f"{name}.csr")
        self._openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                      "-days", str(days), "-extfile", f"{name}.ext", "-out", f"{name}.pem")

    def _openssl(self, *args):
        run("openssl", *args, cwd=self.folder)


def start_postgres(folder):
    """A Postgres on a socket in `folder`, where everybody on this host is trusted."""
    folder.mkdir()
    folder.chmod(0o777)
    users = [user.pw_name for user in pwd.getpwall()]
    as_user = {"user": "postgres" if "postgres" in users else "nobody"} if os.geteuid() == 0 else {}
    run(support.postgres_program("initdb"), "-D", folder / "data", "-U", "postgres", "--auth=trust", "--no-sync",
        **as_user)
    with open(folder / "log", "wb") as log:
        server = subprocess.Popen(
            [support.postgres_program("postgres"), "-D", folder / "data", "-k", folder, "-c", "listen_addresses=",
             "-c", "fsync=off"], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            preexec_fn=support.die_with_parent, **as_user)
    wait_until("Postgres is up", lambda: subprocess.run(
        [support.postgres_program("pg_isready"), "-h", folder], capture_output=True).returncode == 0, 30)
    run(support.postgres_program("createdb"), "-h", folder, "-U", "postgres", "finetuned")
    return server


def why_no_namespaces():
    """Why no network namespace can be made here, in the system's words; empty where one can."""
    argv = ["unshare", *([] if os.geteuid() == 0 else ["-U", "-r"]), "-n", "true"]
    return subprocess.run(argv, capture_output=True, text=True).stderr.strip()


class NodesTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        # An ordinary user needs user namespaces, which some systems do not give, and none in a chroot (unshare(2)).
        if os.geteuid() != 0 and (why := why_no_namespaces()):
            raise unittest.SkipTest(f"hosts of their own need root, or user namespaces: {why}")

    def setUp(self):
        for tool in ("unshare", "nsenter", "ip", "openssl"):
            self.assertTrue(shutil.which(tool), f"{tool} is missing: tools/install_deps.sh --test installs it")
        self.folder = support.make_folder()
        self.addCleanup(shutil.rmtree, self.folder, True)
        self.addCleanup(self.end_what_is_left)
        self.environment = support.clean_environment(self.folder)
        postgres = start_postgres(self.folder / "postgres")
        self.addCleanup(postgres.wait, support.STOP_SECONDS)
        self.addCleanup(postgres.terminate)
        self.database = f"host={self.folder}/postgres user=postgres dbname=finetuned"
        self.network = Network()
        self.addCleanup(self.network.close)
        self.authority = Authority(self.folder / "authority")
        self.processes = {}
        self.addCleanup(self.stop_all)
        for name in ("artifacts", "data", "tls"):
            (self.folder / name).mkdir()
        run(BIN / "finetuned", "migrate", "--set", f"database_url={self.database}", env=self.environment)
        self.asking = "node-1"
        self.admin = self.token("ann@example.com", "--role", "admin")

    def end_what_is_left(self):
        for process in support.processes_of(self.folder):
            os.kill(process.pid, 9)

    def stop_all(self):
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            process.wait(support.STOP_SECONDS)

    def token(self, principal, *args):
        return run(BIN / "finetuned", "token", "create", "--principal", principal, *args, "--set",
                   f"database_url={self.database}", env=self.environment).strip()

    def start(self, name, where, *argv):
        with open(self.folder / f"{name}.log", "ab") as log:
            self.processes[name] = subprocess.Popen(
                [*self.network.enter(where), *map(str, argv)], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=self.environment, preexec_fn=support.die_with_parent)
        return self.processes[name]

    def log(self, name):
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def use_certificate(self, name):
        """Puts a pair where the daemon looks; the key first, so that for a moment they do not fit."""
        for suffix, target in (("key", "daemon.key"), ("pem", "daemon.pem")):
            new = self.folder / "tls" / f"{target}.new"
            new.write_bytes((self.authority.folder / f"{name}.{suffix}").read_bytes())
            new.rename(self.folder / "tls" / target)

    def start_daemon(self):
        names = [f"IP:{address}" for address in (*DAEMON.values(), "127.0.0.1")] + ["DNS:daemon.test"]
        for name in ("first", "second"):
            self.authority.sign(name, names)
        self.use_certificate("first")
        (self.folder / "serve.yaml").write_text(
            f"database_url: {self.database}\nartifact_root: {self.folder}/artifacts\ndata_roots: [{self.folder}/data]\n"
            f"model_roots: [{ROOT}/trainer/models]\nlisten: 0.0.0.0:7070\nworker_listen: 0.0.0.0:7071\n"
            f"metrics_listen: 0.0.0.0:7072\nready_file: {self.folder}/ready\n{LEASE}"
            f"tls: {{cert_file: {self.folder}/tls/daemon.pem, key_file: {self.folder}/tls/daemon.key, "
            f"client_ca_file: {self.authority.file}, check_worker_names: true}}\n")
        daemon = self.start("serve", "daemon", BIN / "finetuned", "serve", "--config", self.folder / "serve.yaml")

        def ready():
            self.assertIsNone(daemon.poll(), self.log("serve"))
            return (self.folder / "ready").exists()
        wait_until("the daemon serves", ready, support.COME_UP_SECONDS)

    def start_worker(self, name, where=None, token=None, certificate=None, artifact_root=None, log=None, **tls):
        """A worker in a node's namespace; everything that is not said is as it should be."""
        where = where or name
        log = log or name
        token_file = self.folder / f"{log}.token"
        token_file.write_text(token or self.token(f"{log}@example.com", "--role", "worker", "--worker", name))
        token_file.chmod(0o600)
        if certificate is None and not (self.authority.folder / f"{name}.pem").exists():
            self.authority.sign(name, [f"DNS:{name}"])
        certificate = name if certificate is None else certificate
        settings = {"ca_file": self.authority.file, **tls}
        if certificate:
            settings |= {"cert_file": self.authority.folder / f"{certificate}.pem",
                         "key_file": self.authority.folder / f"{certificate}.key"}
        (self.folder / f"{log}.yaml").write_text(
            f"daemon: {DAEMON[where]}:7071\nname: {name}\ntoken_file: {token_file}\n"
            f"artifact_root: {artifact_root or self.folder / 'artifacts'}\nwork_dir: {self.folder}/{log}\n"
            f"model_roots: [{ROOT}/trainer/models]\ntrainer_command: [{TRAINER_PYTHON}, -m, trainer]\n"
            f"trainer_dir: {ROOT}\ncapacity: {{cpus: 2, gpus: 0}}\nlabels: {{rack: {where}}}\n"
            f"tls: {{{', '.join(f'{key}: {value}' for key, value in settings.items())}}}\n")
        return self.start(log, where, BIN / "finetuned", "worker", "--config", self.folder / f"{log}.yaml")

    def cli(self, *args, expect=0):
        """The CLI on the node that `asking` names."""
        done = subprocess.run(
            [*self.network.enter(self.asking), BIN / "finetune", "--server", f"{DAEMON[self.asking]}:7070", "--ca-file",
             self.authority.file, *map(str, args)], env={**self.environment, "FINETUNED_TOKEN": self.admin},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=support.CALL_SECONDS)
        self.assertEqual(done.returncode, expect, f"{args}: {done.stdout}{done.stderr}")
        return done

    def ask(self, *args):
        return json.loads(self.cli(*args, "-o", "json").stdout)

    def workers(self):
        return {worker["name"]: worker for worker in self.ask("worker", "list")["workers"]}

    def wait_for_workers(self, *names):
        wait_until(f"{names} are online",
                   lambda: {name for name, worker in self.workers().items() if worker["state"] == "ONLINE"}
                   >= set(names), JOIN_SECONDS, pause=0.2)

    def refused(self, process, log, *words, status=1):
        self.assertEqual(process.wait(JOIN_SECONDS), status, self.log(log))
        for word in words:
            self.assertIn(word, self.log(log))

    def create(self, name, batches):
        data = self.folder / "data" / "pairs.jsonl"
        if not data.exists():
            data.write_text("".join(json.dumps({"prompt": f"{n} and 1?", "response": f" {n + 1}"}) + "\n"
                                    for n in range(200)))
        self.cli("run", "create", "--name", name, "--model", "finetuned/tiny-llama", "--task", "instruction",
                 "--train-data", data, "--duration", f"{batches}ba", "--save-interval", "20ba", "--context-length", "64",
                 "--learning-rate", "1e-3", "--cpus", "2")

    def wait_for_run(self, name, what, wanted):
        def look():
            found = self.ask("run", "get", name)
            self.assertNotEqual(found["state"], "FAILED", found)
            return found if wanted(found) else None
        return wait_until(f"{name}: {what}", look, TRAIN_SECONDS, pause=0.2)

    def test_two_nodes_train_and_a_run_moves_when_one_is_cut_off(self):
        self.start_daemon()
        for name in NODE:
            self.start_worker(name)
        self.wait_for_workers(*NODE)
        self.assertEqual(self.workers()["node-2"]["labels"], {"rack": "node-2"})
        self.create("short", 120)
        self.create("moves", 160)
        trains = lambda found: int(found.get("progress", {}).get("step", 0)) > 0  # noqa: E731
        where = {name: self.wait_for_run(name, "trains", trains)["worker"] for name in ("short", "moves")}
        self.assertEqual(set(where.values()), set(NODE))
        lost = where["moves"]
        page = self.cli("worker", "get", lost).stdout
        self.assertIn("moves", page)
        self.wait_for_run("moves", "has a checkpoint", lambda found: found["latest_checkpoint"])
        sampler = support.TrainerSampler("moves")
        sampler.start()
        self.addCleanup(sampler.stop)
        self.network.cut(lost)
        self.asking = where["short"]
        ended = {name: self.wait_for_run(name, "ends", lambda found: found["state"] == "COMPLETED")
                 for name in ("short", "moves")}
        sampler.stop()
        self.assertEqual(sampler.together, [])
        self.assertEqual(len(sampler.seen), 2, "the second trainer of the run is another process")
        self.assertEqual(ended["short"]["attempt"], "1")
        self.assertEqual(ended["moves"]["attempt"], "2")
        events = self.ask("run", "events", "moves", "--limit", "10000")["events"]
        self.assertEqual([int(event["seq"]) for event in events], list(range(1, len(events) + 1)))
        types = [event["type"] for event in events]
        for kind, count in (("REQUEUED", 1), ("STARTED", 2), ("RESUMED", 1), ("COMPLETED", 1), ("FAILED", 0)):
            self.assertEqual(types.count(kind), count, kind)
        self.network.mend(lost)
        self.wait_for_workers(*NODE)

    def test_whoever_is_not_who_it_says_does_not_join(self):
        self.start_daemon()
        self.start_worker("node-1")
        self.wait_for_workers("node-1")
        own = (self.folder / "node-1.token").read_text()
        free = self.token("free@example.com", "--role", "worker")
        # The token of another worker; the certificate of another; a folder that the daemon does not see.
        self.refused(self.start_worker("node-2", token=own), "node-2", "the token is for the worker node-1")
        self.refused(self.start_worker("node-2", token=free, certificate="node-1", log="borrowed"), "borrowed",
                     "the certificate is for node-1")
        (self.folder / "elsewhere").mkdir()
        self.refused(self.start_worker("node-2", artifact_root=self.folder / "elsewhere", log="elsewhere-worker"),
                     "elsewhere-worker", "both the same folder of a filesystem that both see", status=69)
        # Certificates that cannot be used are refused before anything is called.
        self.authority.sign("expired", ["DNS:node-2"], days=-1)
        self.refused(self.start_worker("node-2", certificate="expired", log="old"), "old", "tls.cert_file",
                     "has expired at")
        # And what only the other side can see, is a connection that does not come about, said once and again.
        other = Authority(self.folder / "other")
        other.sign("stranger", ["DNS:node-2"])
        for log, options in (("bare", {"certificate": ""}),
                                   ("misnamed", {"server_name": "other.test"}),
                                   ("distrustful", {"ca_file": other.file})):
            process = self.start_worker("node-2", log=log, **options)
            wait_until(f"{log} says that it cannot call", lambda log=log: "UNAVAILABLE" in self.log(log).upper()
                       or "cannot" in self.log(log), JOIN_SECONDS)
            self.assertIsNone(process.poll())
            process.terminate()
            process.wait(support.STOP_SECONDS)
        self.assertEqual(set(self.workers()), {"node-1"})
        # The same worker once more: the first one is told, and ends.
        first = self.processes["node-1"]
        self.start_worker("node-1", token=free, log="twin")
        self.assertEqual(first.wait(JOIN_SECONDS), 4, self.log("node-1"))
        # Without TLS no token crosses a network.
        (self.folder / "plain.yaml").write_text(
            "".join(line for line in (self.folder / "twin.yaml").read_text().splitlines(True)
                    if not line.startswith("tls:")).replace("/twin\n", "/plain\n"))
        self.refused(self.start("plain", "node-1", BIN / "finetuned", "worker", "--config", self.folder / "plain.yaml"),
                     "plain", "clear text", "tls.ca_file")

    def serial(self):
        """Of the certificate that the daemon shows to a new connection."""
        shown = self.network.inside("node-1", "sh", "-c", f"openssl s_client -connect {DAEMON['node-1']}:7070 -alpn h2 "
                                    "</dev/null 2>/dev/null | openssl x509 -noout -serial")
        return shown.strip()

    def test_certificates_are_renewed_and_a_broken_pair_changes_nothing(self):
        self.start_daemon()
        self.start_worker("node-1")
        self.wait_for_workers("node-1")
        serials = {name: run("openssl", "x509", "-noout", "-serial", "-in",
                             self.authority.folder / f"{name}.pem").strip() for name in ("first", "second")}
        self.assertEqual(self.serial(), serials["first"])
        (self.folder / "tls/daemon.key").write_bytes((self.authority.folder / "second.key").read_bytes())
        wait_until("the daemon says that the pair is broken",
                   lambda: "the new certificates are not used" in self.log("serve"), 30)
        self.assertEqual(self.serial(), serials["first"])
        self.cli("quota")
        self.use_certificate("second")
        wait_until("the new pair is in use", lambda: self.serial() == serials["second"], 30, pause=0.3)
        self.cli("quota")
        scraped = self.network.inside("node-1", sys.executable, "-c", (
            "import ssl, urllib.request; "
            f"print(urllib.request.urlopen('https://{DAEMON['node-1']}:7072/metrics', "
            f"context=ssl.create_default_context(cafile='{self.authority.file}')).read().decode())"))
        self.assertIn("finetuned_certificate_expire_time_seconds", scraped)
        self.assertIsNone(self.processes["node-1"].poll())
        self.assertEqual(self.workers()["node-1"]["state"], "ONLINE")


if __name__ == "__main__":
    unittest.main(verbosity=2)
