"""How an installation is operated: a real Prometheus scrapes it, and wrong input is told in one sentence.

Each refusal is asked of the program itself: its exit status is the documented one, and its sentence says what is wrong
and what to do.
"""
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import threading
import time
import unittest
import urllib.request

import support

UNREACHABLE = "127.0.0.1:1"
# sysexits.h, as `finetuned` uses it.
EXIT_USAGE, EXIT_UNAVAILABLE, EXIT_CONFIG = 64, 69, 78
# As cli/README.md says.
CLI_USAGE, CLI_NOT_FOUND, CLI_TOKEN, CLI_UNREACHABLE, CLI_REFUSED = 2, 3, 4, 6, 65
PROGRAM_SECONDS = 60


class OperationsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = support.make_folder()
        cls.dev = support.Dev(cls.folder)
        cls.addClassCleanup(cls.dev.destroy)
        cls.dev.start()
        (cls.folder / "artifacts").mkdir()
        cls.database_url = re.search(r"^database_url: '(.*)'$", (cls.dev.data_dir / "serve.yaml").read_text(),
                                     re.M)[1]

    def run_program(self, *argv):
        return subprocess.run([support.BIN / argv[0], *map(str, argv[1:])], env=self.dev.environment,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, cwd=self.folder,
                              timeout=PROGRAM_SECONDS)

    def check_refused(self, status, sentences, *argv):
        """The exit status, and one last line on standard error with all of `sentences`; before it only the log."""
        with self.subTest(" ".join(map(str, argv))):
            done = self.run_program(*argv)
            self.assertEqual((done.returncode, done.stdout), (status, ""), done.stderr)
            *log, line = done.stderr.splitlines()
            self.assertRegex(line, r"^finetuned(-worker)?: \S")
            for entry in log:
                self.assertTrue(entry.startswith('{"time":'), f"not of the log: {entry}")
            for sentence in sentences:
                self.assertIn(sentence, line)

    def check_cli_refused(self, status, sentences, *args):
        """No data on standard output; the error, and what to do next, on standard error; the exit status."""
        with self.subTest(" ".join(map(str, args))):
            done = self.run_program("finetune", *args)
            self.assertEqual((done.returncode, done.stdout), (status, ""), done.stderr)
            self.assertTrue(done.stderr.startswith("error: "), done.stderr)
            self.assertIn("\nnext:  ", done.stderr)
            for sentence in sentences:
                self.assertIn(sentence, done.stderr)

    def serve(self, *settings):
        """`finetuned serve` beside the one of dev mode, on free ports, over the same database."""
        port = support.free_ports(3)
        good = {"listen": f"127.0.0.1:{port}", "worker_listen": f"127.0.0.1:{port + 1}",
                "metrics_listen": f"127.0.0.1:{port + 2}", "database_url": self.database_url,
                "artifact_root": self.folder / "artifacts", "model_roots": support.ROOT / "trainer/models"}
        good.update(setting.split("=", 1) for setting in settings)
        return ["finetuned", "serve"] + [f"--set={field}={value}" for field, value in good.items()]

    def worker(self, **flags):
        good = {"daemon": f"127.0.0.1:{self.dev.port + 1}", "token_file": self.dev.data_dir / "tokens/worker",
                "name": "second", "artifact_root": self.dev.data_dir / "artifacts",
                "work_dir": self.folder / "second", "model_roots": "/", "trainer_command": "/bin/false",
                "trainer_dir": "/"}
        return ["finetuned", "worker"] + [f"--{flag}={value}" for flag, value in {**good, **flags}.items()]

    # ---- Stopping.

    def test_a_silent_postgres_does_not_keep_the_daemon_from_stopping(self):
        ready = self.folder / "second.ready"
        program, *argv = self.serve("shutdown_grace_duration=1s", f"ready_file={ready}")
        with open(self.folder / "second.log", "wb+") as log:
            daemon = subprocess.Popen([support.BIN / program, *argv], env=self.dev.environment, stderr=log,
                                      preexec_fn=support.die_with_parent)
            self.addCleanup(daemon.kill)
            support.wait_until("the second daemon serves", ready.exists, support.COME_UP_SECONDS)
            server = self.dev.service("postgres")
            backends = [one for one in support.processes() if one.argv[:1] and one.argv[0].startswith("postgres: ")
                        and one.cwd == server.cwd]
            self.assertTrue(backends)
            try:
                for one in backends:
                    os.kill(one.pid, signal.SIGSTOP)
                daemon.send_signal(signal.SIGTERM)
                self.assertEqual(daemon.wait(support.STOP_SECONDS), EXIT_UNAVAILABLE)
            finally:
                for one in backends:
                    os.kill(one.pid, signal.SIGCONT)
            log.seek(0)
            self.assertIn(b"without an answer of Postgres", log.read())

    # ---- Prometheus.

    def metrics_page(self):
        url = f"http://127.0.0.1:{self.dev.port + 2}/metrics"
        with urllib.request.urlopen(url, timeout=10) as response:
            self.assertIn("text/plain", response.headers["Content-Type"])
            return response.read()

    def test_promtool_finds_nothing_to_say_about_the_metrics(self):
        self.dev.ask("run", "list")
        page = self.metrics_page()
        self.assertIn(b"finetuned_build_info", page)
        done = subprocess.run([support.PROMETHEUS_BIN / "promtool", "check", "metrics"], input=page,
                              capture_output=True, timeout=PROGRAM_SECONDS)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, b"", b""))

    def test_a_prometheus_scrapes_the_daemon(self):
        port = support.free_ports(1)
        folder = self.folder / "prometheus"
        folder.mkdir()
        (folder / "prometheus.yml").write_text(
            "global: {scrape_interval: 1s}\n"
            "scrape_configs:\n"
            "  - job_name: finetuned\n"
            f"    static_configs: [{{targets: ['127.0.0.1:{self.dev.port + 2}']}}]\n")
        with open(folder / "log", "wb") as log:
            prometheus = subprocess.Popen(
                [support.PROMETHEUS_BIN / "prometheus", f"--config.file={folder}/prometheus.yml",
                 f"--storage.tsdb.path={folder}/data", f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=support.die_with_parent)
        self.addCleanup(prometheus.wait, PROGRAM_SECONDS)
        self.addCleanup(prometheus.terminate)

        def query(expression):
            url = f"http://127.0.0.1:{port}/api/v1/query?query={expression}"
            try:
                with urllib.request.urlopen(url, timeout=10) as response:
                    return json.load(response)["data"]["result"]
            except OSError:
                self.assertIsNone(prometheus.poll(), (folder / "log").read_text())
                return None

        def value(expression):
            result = query(expression)
            return float(result[0]["value"][1]) if result else None
        support.wait_until("the daemon is up for Prometheus", lambda: value("up") == 1, PROGRAM_SECONDS)
        [build] = support.wait_until("there is a build", lambda: query("finetuned_build_info"), PROGRAM_SECONDS)
        version = self.run_program("finetuned", "--version").stdout.split()[1]
        self.assertEqual((build["metric"]["version"], build["value"][1]), (version, "1"))
        support.wait_until("the database is writable", lambda: value("finetuned_database_writable") == 1,
                           PROGRAM_SECONDS)

    # ---- finetuned.

    def test_a_wrong_command_line_is_named(self):
        for argv, sentence in ((["nonsense"], "nonsense"), (["serve", "--bogus"], "--bogus"), ([], "subcommand"),
                               (["serve", "--set", "listen"], "field=value"), (["dev", "--port", "99999"], "--port")):
            # Of these only the setting is read after the command line.
            status = EXIT_CONFIG if "--set" in argv else EXIT_USAGE
            self.check_refused(status, [sentence], "finetuned", *argv)
        self.check_refused(EXIT_USAGE, ["--bogus", "--help"], "finetuned", "worker", "--bogus")

    def test_serve_names_the_setting_that_is_wrong(self):
        self.check_refused(EXIT_CONFIG, ["database_url: is required", "finetuned dev"], "finetuned", "serve")
        self.check_refused(EXIT_CONFIG, ["/no/such.yaml"], "finetuned", "serve", "--config", "/no/such.yaml")
        (self.folder / "unknown.yaml").write_text("log_level: info\nlissten: 127.0.0.1:7070\n")
        self.check_refused(EXIT_CONFIG, ["unknown.yaml, line 2: lissten: is not a field", "worker_listen"],
                           "finetuned", "serve", "--config", "unknown.yaml")
        (self.folder / "broken.yaml").write_text("listen: [\n")
        self.check_refused(EXIT_CONFIG, ["broken.yaml", "line 2"], "finetuned", "serve", "--config", "broken.yaml")
        for setting, sentences in (
                ("listen=0.0.0.0:7070", ["listen: 0.0.0.0:7070 is not a loopback address", "127.0.0.1"]),
                ("worker_listen=banana", ["worker_listen:", "`host:port`"]),
                ("artifact_root=relative", ["artifact_root:", "absolute path"]),
                ("lease.self_stop_duration=20m", ["lease.reassign_duration: 15m is less than", "25m"]),
                ("lease.self_stop_duration=soon", ["lease.self_stop_duration", "is not a duration"]),
                ("active_runs_limit=many", ["active_runs_limit", "is not an integer"]),
                ("read_connections=1000", ["read_connections: must be from 1 to 64"]),
                ("shutdown_grace_duration=-1s", ["shutdown_grace_duration: must be from 0s to 1h"]),
                ("shutdown_grace_duration=2h", ["shutdown_grace_duration: must be from 0s to 1h"])):
            self.check_refused(EXIT_CONFIG, sentences, *self.serve(setting))

    def test_serve_names_the_port_that_is_busy(self):
        with socket.socket() as busy:
            busy.bind(("127.0.0.1", 0))
            busy.listen()
            address = f"127.0.0.1:{busy.getsockname()[1]}"
            for field in ("listen", "worker_listen", "metrics_listen"):
                self.check_refused(EXIT_CONFIG, [f"{field}: cannot listen on {address}", "choose another port"],
                                   *self.serve(f"{field}={address}"))

    def test_serve_says_what_to_do_about_the_database(self):
        # Unavailable, so that a service manager starts it again.
        self.check_refused(EXIT_UNAVAILABLE, ["database_url", "/no/such"],
                           *self.serve("database_url=host=/no/such dbname=finetuned"))
        admin = self.database_url.replace("finetuned_daemon", "finetuned_admin")
        subprocess.run([support.postgres_program("psql"), admin, "-qc", "create database empty"], check=True,
                       timeout=PROGRAM_SECONDS)
        empty = admin.replace("dbname=finetuned", "dbname=empty")
        self.check_refused(EXIT_CONFIG, ["finetuned migrate"], *self.serve("database_url=" + empty))

    def test_an_artifact_root_that_is_not_there_may_be_mounted_later(self):
        words = ["artifact_root: ", "/no/such", "is it mounted?"]
        self.check_refused(EXIT_UNAVAILABLE, words, *self.serve("artifact_root=/no/such"))
        self.check_refused(EXIT_UNAVAILABLE, words, *self.worker(artifact_root="/no/such"))

    def test_dev_runs_once_over_one_folder(self):
        port = support.free_ports(3)
        self.check_refused(EXIT_CONFIG, [f"another `finetuned dev` runs on {self.dev.data_dir}", "--data-dir"],
                           *self.dev.argv()[:4], "--port", port)
        self.assertIsNone(self.dev.process.poll())
        self.assertEqual(self.dev.ask("worker", "list")["workers"][0]["name"], "dev")
        self.check_refused(EXIT_CONFIG, ["--data-dir: must be an absolute path"],
                           "finetuned", "dev", "--data-dir", "relative")
        self.check_refused(EXIT_CONFIG, ["/no/such", "--trainer-python"], "finetuned", "dev", "--data-dir",
                           self.folder / "other", "--port", port, "--trainer-dir", support.ROOT,
                           "--trainer-python", "/no/such")

    # ---- The worker. Its session is refused in its log, which is JSON.

    def check_worker_refused(self, sentences, *argv, status=1):
        with self.subTest(" ".join(map(str, argv))):
            done = self.run_program(*argv)
            self.assertEqual(done.returncode, status, done.stderr)
            line = json.loads((done.stdout + done.stderr).splitlines()[-1])
            self.assertEqual((line["level"], line["message"]), ("error", "the session is refused"))
            for sentence in sentences:
                self.assertIn(sentence, line["error"])

    def test_the_worker_says_why_it_is_refused(self):
        self.check_refused(1, ["token_file: is required", "trainer_command: is required"], "finetuned", "worker")
        self.check_worker_refused(["token_file: ", "/no/such", "finetuned token create"],
                                  *self.worker(token_file="/no/such"))
        (self.folder / "wrong").write_text("not-a-token\n")
        self.check_worker_refused(["UNAUTHENTICATED", "token"], *self.worker(token_file=self.folder / "wrong"))
        self.check_worker_refused(["PERMISSION_DENIED", "role"],
                                  *self.worker(token_file=self.dev.data_dir / "tokens/user"))
        (self.folder / "elsewhere").mkdir()
        self.check_worker_refused(["artifact_root"], *self.worker(artifact_root=self.folder / "elsewhere"),
                                  status=EXIT_UNAVAILABLE)

    def test_the_worker_waits_for_a_daemon_that_is_away(self):
        with open(self.folder / "away.log", "wb") as log:
            agent = subprocess.Popen([support.BIN / "finetuned", *self.worker(daemon=UNREACHABLE)[1:]],
                                     env=self.dev.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                     preexec_fn=support.die_with_parent)
        try:
            def tries():
                lines = (self.folder / "away.log").read_text().splitlines(keepends=True)
                return [json.loads(line) for line in lines if line.endswith("\n")]
            # Having failed twice it has tried again.
            support.wait_until("it tried twice", lambda: len(tries()) >= 2, PROGRAM_SECONDS)
            self.assertIsNone(agent.poll())
            self.assertEqual((tries()[1]["level"], tries()[1]["call"]), ("warning", "OpenSession"))
            self.assertIn("127.0.0.1:1", tries()[1]["error"])
        finally:
            agent.send_signal(signal.SIGTERM)
        self.assertEqual(agent.wait(PROGRAM_SECONDS), 0)

    # ---- The CLI.

    def test_the_cli_says_what_is_wrong_and_what_to_do(self):
        dev = ("--context", "dev")
        self.check_cli_refused(CLI_USAGE, ["has no command `nonsense`"], "nonsense")
        self.check_cli_refused(CLI_USAGE, ["`finetune run` has no command `lst`. Did you mean `list`?"], "run", "lst")
        self.check_cli_refused(CLI_USAGE, ["has no flag --modle. Did you mean `--model`?"],
                               "run", "create", "--modle", "m")
        self.check_cli_refused(CLI_UNREACHABLE, [f"No answer from the server at {UNREACHABLE}", "finetuned dev"],
                               "--server", UNREACHABLE, "--token", "x", "run", "list")
        self.check_cli_refused(CLI_TOKEN, ["token"], "--server", f"127.0.0.1:{self.dev.port}", "--token", "wrong",
                               "run", "list")
        self.check_cli_refused(CLI_USAGE, ["/no/such", "--token-file"], *dev, "--token-file", "/no/such", "run", "list")
        self.check_cli_refused(CLI_USAGE, ["no context `staging`"], "--context", "staging", "run", "list")

    def test_an_unknown_run_is_answered_with_near_names(self):
        data = self.folder / "data.jsonl"
        data.write_text('{"prompt": "a", "response": "b"}\n')
        create = ("--context", "dev", "run", "create", "--model", "finetuned/tiny-llama", "--task", "instruction",
                  "--train-data", data)
        # One that no worker is large enough for, so that nothing runs.
        self.dev.cli(*create[2:], "--name", "documentation", "--cpus", "4096")
        self.check_cli_refused(CLI_NOT_FOUND, ["documentatoin", "Did you mean `documentation`?"],
                               "--context", "dev", "run", "get", "documentatoin")
        self.check_cli_refused(CLI_NOT_FOUND, ["nothing-like-it"], "--context", "dev", "run", "watch",
                               "nothing-like-it")
        self.check_cli_refused(CLI_REFUSED, ["run.spec.training_duration: ", "Nothing was stored"],
                               *create, "--duration", "3weeks")
        self.check_cli_refused(CLI_REFUSED, ["run.spec.model: ", "finetuned/tiny-llama"],
                               *create[:5], "finetuned/tiny-lama", *create[6:])
        self.check_cli_refused(CLI_REFUSED, ["run.spec.train_data_path: ", "Nothing was stored"],
                               *create[:9], "s3://no/such")
        self.dev.cli("run", "cancel", "documentation", "--yes")
        self.assertEqual(int(self.dev.ask("quota")["active_usage"]), 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
