#!/usr/bin/env python3
"""The API as other services call it: clients in Python and Go, each with stubs of its own, against the real programs.

Both clients are the same program in two languages and print the same, so each test holds both. Where the network has to
be bad, lossy_proxy.py stands between.
"""
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
import unittest
import uuid

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "e2e"))
import support  # noqa: E402

BUILD = support.ROOT / "build/clients"
PYTHON = BUILD / "venv/bin/python3"
SERVICE_CONFIG = support.ROOT / "docs/service_config.json"
BUILD_SECONDS = 120
CALL_SECONDS = 30
RUN_SECONDS = 120
ACTIVE_LIMIT = 3
# More than any worker has, so that the run waits until it is canceled.
TOO_MANY_CPUS = 4096
SHUTDOWN = ("UNAVAILABLE", "SHUTTING_DOWN")


def setUpModule():
    if not PYTHON.exists():
        raise AssertionError("build/clients is not set up: run tests/clients/setup.sh")
    built = subprocess.run([HERE / "build.sh"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True, timeout=BUILD_SECONDS)
    if built.returncode != 0:
        raise AssertionError(f"the clients cannot be built:\n{built.stdout}")
    global DEV
    DEV = support.Dev(support.make_folder(), serve_settings=[f"active_runs_limit={ACTIVE_LIMIT}"])
    unittest.addModuleCleanup(DEV.destroy)
    DEV.start()
    DEV.database_url = re.search(r"^database_url: '(.*)'$", (DEV.data_dir / "serve.yaml").read_text(), re.M)[1]
    pairs = [{"prompt": f"What is {n} and {n}?", "response": f"It is {2 * n}."} for n in range(64)]
    (DEV.folder / "pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))


def make_token(principal):
    """The file of a new token."""
    made = subprocess.run([support.BIN / "finetuned", "token", "create", f"--set=database_url={DEV.database_url}",
                           "--principal", principal], env=DEV.environment, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=CALL_SECONDS, check=True)
    path = DEV.folder / f"{principal}.token"
    path.touch(mode=0o600)
    path.write_text(made.stdout)
    return path


def stored(query):
    """Rows of the daemon's own database, each a list of texts."""
    done = subprocess.run([support.postgres_program("psql"), DEV.database_url, "-AtF,", "-c", query],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=CALL_SECONDS, check=True)
    return [line.split(",") for line in done.stdout.splitlines()]


def stored_events(name):
    return [(int(seq), kind) for seq, kind in stored(
        f"select seq, type from run_events join runs using (run_id) where name = '{name}' order by seq")]


def last_segment(name):
    return name.rpartition("/")[2]


class Background:
    """A program that prints JSON lines, while it runs."""

    def __init__(self, test, argv):
        self.output = DEV.folder / f"{uuid.uuid4()}.jsonl"
        with open(self.output, "wb") as out, open(f"{self.output}.err", "wb") as err:
            self.process = subprocess.Popen(argv, env=test.environment(), stdin=subprocess.DEVNULL, stdout=out,
                                            stderr=err, preexec_fn=support.die_with_parent)
        test.addCleanup(self.process.wait, CALL_SECONDS)
        test.addCleanup(self.process.terminate)

    def lines(self):
        return [json.loads(line) for line in self.output.read_text().splitlines(keepends=True) if line.endswith("\n")]

    def wait_for(self, what, condition, seconds=CALL_SECONDS):
        """What condition(lines) is, as soon as it is true."""
        def look():
            ended = self.process.poll() is not None
            found = condition(self.lines())
            if ended and not found:
                errors = pathlib.Path(f"{self.output}.err").read_text()
                raise AssertionError(f"ended with {self.process.returncode} before {what}: {self.lines()[-3:]}\n"
                                     f"{errors}")
            return found
        return support.wait_until(what, look, seconds)


class Clients:
    """What every client must do. Each language is a subclass, and a principal of its own."""

    @classmethod
    def setUpClass(cls):
        cls.owner = f"{cls.language}@example.com"
        cls.token = make_token(cls.owner)

    def environment(self):
        return {**DEV.environment, "PYTHONPATH": str(BUILD / "python"), "PYTHONDONTWRITEBYTECODE": "1"}

    def argv(self, *args, server=None, token=None, deadline=None):
        token = self.token if token is None else token
        flags = {"server": server or f"127.0.0.1:{DEV.port}", "service-config": SERVICE_CONFIG,
                 "token-file": token, "deadline": deadline}
        return [*self.program, *(f"--{name}={value}" for name, value in flags.items() if value), *map(str, args)]

    def call(self, *args, expect=0, **where):
        done = subprocess.run(self.argv(*args, **where), env=self.environment(), stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=RUN_SECONDS)
        self.assertEqual((done.returncode, done.stderr), (expect, ""), done.stdout)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def create(self, name, *more, **where):
        [run] = self.call("create", "--name", name, "--train-data", DEV.folder / "pairs.jsonl", "--request-id",
                          uuid.uuid4(), "--cpus", TOO_MANY_CPUS, *more, **where)
        return run

    def name(self, what):
        return f"{self.language}-{what}"

    def check_refused(self, code, reason, *args, **where):
        """The error, whose code and reason are these; of the daemon."""
        with self.subTest(" ".join(map(str, args))):
            [line] = self.call(*args, expect=1, **where)
            error = line["error"]
            self.assertEqual((error["code"], error["reason"], error["domain"]), (code, reason, "finetuned"))
            return error

    def start_proxy(self, plan):
        """A proxy before the daemon, and its address."""
        proxy = Background(self, [PYTHON, "-B", HERE / "lossy_proxy.py", f"127.0.0.1:{DEV.port}", json.dumps(plan)])
        [first] = proxy.wait_for("the proxy listens", lambda lines: lines[:1])
        return proxy, f"127.0.0.1:{first['port']}"

    def calls_of(self, proxy, method):
        return [(call["trouble"], call["retry"]) for call in proxy.lines()[1:] if call["method"] == method]

    # ---- A run from its creation to its end.

    def test_a_run_is_made_once_and_followed_to_its_end(self):
        create = ("create", "--name", self.name("trained"), "--train-data", DEV.folder / "pairs.jsonl",
                  "--request-id", uuid.uuid4(), "--duration", "8ba")
        [run] = self.call(*create)
        [again] = self.call(*create)
        self.assertEqual((run["name"], run["uid"]), (again["name"], again["uid"]))
        self.assertEqual(stored(f"select count(*) from runs where name = '{self.name('trained')}'"), [["1"]])
        lines = self.call("watch", "--break-after", "3", run["name"])
        self.assertEqual(lines[3], {"left": 3})
        seen = [(line["seq"], line["type"]) for line in lines if "seq" in line]
        self.assertEqual(seen, stored_events(self.name("trained")))
        self.assertEqual([seq for seq, _ in seen], list(range(1, len(seen) + 1)))
        kinds = [kind for _, kind in seen]
        self.assertEqual((kinds[0], kinds[-1]), ("CREATED", "COMPLETED"))
        self.assertIn("TRAIN_UPDATED", kinds)
        self.assertEqual(lines[-1], {**run, "state": "COMPLETED"})
        # Whoever comes later, from a number of before.
        later = self.call("watch", "--after", "2", run["uid"])
        self.assertEqual([(line["seq"], line["type"]) for line in later[:-1]], seen[2:])

    def test_a_stream_that_breaks_goes_on_without_a_gap_or_a_repetition(self):
        run = self.create(self.name("watched"))
        proxy, address = self.start_proxy({"WatchEvents": ["cut:2", "refuse", "cut:1", "cut:3"]})
        watch = Background(self, self.argv("watch", run["name"], server=address))

        def wait_for_event(seq):
            watch.wait_for(f"event {seq}", lambda lines: any(line.get("seq") == seq for line in lines))
        wait_for_event(1)
        for seq in range(2, 9):
            # Each change is an event, and each event a message.
            DEV.cli("--token-file", self.token, "run", "update", run["name"], "--max-retries", seq)
            wait_for_event(seq)
        # The daemon ends its streams when it is told to stop, and `finetuned dev` starts it again.
        os.kill(DEV.service("serve").pid, signal.SIGTERM)
        breaks = watch.wait_for("the daemon ended the stream", lambda lines: (
            SHUTDOWN in [(line["broken"]["code"], line["broken"]["reason"]) for line in lines if "broken" in line]
            and [line["broken"] for line in lines if "broken" in line]))
        [told] = [one for one in breaks if one["reason"] == "SHUTTING_DOWN"]
        self.assertEqual((told["domain"], told["retry_delay"]), ("finetuned", 1.0))
        # The other breaks are the proxy's, which says nothing in details.
        self.assertGreaterEqual(len(breaks), 5, (breaks, proxy.lines(), watch.lines()))
        support.wait_until("the daemon is back", lambda: (DEV.service("serve") and subprocess.run(
            self.argv("get", run["name"]), env=self.environment(), stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL).returncode == 0), CALL_SECONDS)
        self.call("cancel", run["name"])
        self.assertEqual(watch.process.wait(CALL_SECONDS), 0)
        seen = [(line["seq"], line["type"]) for line in watch.lines() if "seq" in line]
        self.assertEqual(seen, [(1, "CREATED"), *((seq, "UPDATED") for seq in range(2, 9)), (9, "CANCELED")])
        self.assertEqual(seen, stored_events(self.name("watched")))
        self.assertEqual(watch.lines()[-1], {**run, "state": "STOPPED"})
        calls = self.calls_of(proxy, "WatchEvents")
        self.assertEqual([trouble for trouble, _ in calls[:5]], ["cut:2", "refuse", "cut:1", "cut:3", ""])
        self.assertEqual({retry for _, retry in calls}, {0}, "the caller resumes a stream, the library does not")

    # ---- The service config.

    def test_a_call_survives_a_short_outage(self):
        proxy, address = self.start_proxy({"GetRun": ["refuse", "refuse"], "CancelRuns": ["lose"],
                                           "CreateRun": ["lose", "refuse"]})
        run = self.create(self.name("lost"), server=address)
        self.assertEqual(self.calls_of(proxy, "CreateRun"), [("lose", 0), ("refuse", 1), ("", 2)])
        self.assertEqual(stored(f"select uid from runs where name = '{self.name('lost')}'"), [[run["uid"]]])
        self.assertEqual(self.call("get", run["name"], server=address), [run])
        self.assertEqual(self.calls_of(proxy, "GetRun"), [("refuse", 0), ("refuse", 1), ("", 2)])
        [result] = self.call("cancel", run["name"], server=address)
        # The answer that was lost was STOPPED.
        self.assertEqual((result["code"], result["outcome"]), ("OK", "ALREADY_TERMINAL"))
        self.assertEqual(stored_events(self.name("lost")), [(1, "CREATED"), (2, "CANCELED")])

    def test_a_call_ends_at_its_deadline(self):
        proxy, address = self.start_proxy({"GetQuota": ["hold"]})
        begin = time.monotonic()
        [line] = self.call("quota", expect=1, server=address, deadline=1)
        self.assertEqual((line["error"]["code"], line["error"]["reason"]), ("DEADLINE_EXCEEDED", ""))
        self.assertLess(time.monotonic() - begin, 10)
        self.assertEqual(self.calls_of(proxy, "GetQuota"), [("hold", 0)], "only UNAVAILABLE is retried")

    # ---- Limits and refusals.

    def test_a_full_quota_is_refused_with_what_holds_it(self):
        names = [self.create(self.name(f"held-{n}"))["name"] for n in range(ACTIVE_LIMIT)]
        refused = self.check_refused(
            "RESOURCE_EXHAUSTED", "ACTIVE_RUNS_QUOTA", "create", "--name", self.name("too-many"), "--train-data",
            DEV.folder / "pairs.jsonl", "--request-id", uuid.uuid4())
        self.assertEqual(refused["quota"], [[f"owner:{self.owner}", f"active_runs: {ACTIVE_LIMIT} of {ACTIVE_LIMIT}"]])
        self.assertEqual((refused["metadata"]["limit"], refused["metadata"]["usage"]), (str(ACTIVE_LIMIT),) * 2)
        self.assertEqual(stored(f"select count(*) from runs where name = '{self.name('too-many')}'"), [["0"]])
        [quota] = self.call("quota")
        self.assertEqual((quota["limit"], quota["usage"], len(quota["runs"])), (ACTIVE_LIMIT,) * 3)
        *results, unknown = self.call("cancel", *names, "no-such-run")
        self.assertEqual([(r["name"], r["code"], r["outcome"]) for r in results],
                         [(name, "OK", "STOPPED") for name in names])
        self.assertEqual((unknown["code"], unknown["reason"]), ("NOT_FOUND", "RUN_NOT_FOUND"))
        self.assertEqual(self.call("quota")[0]["usage"], 0)
        # They are still there to be listed.
        pages = [line["page"] for line in self.call("runs", "--page-size", "2")]
        self.assertEqual({len(page) for page in pages[:-1]}, {2})
        listed = [last_segment(name) for page in pages for name in page]
        self.assertEqual(listed, [name for name, in stored(
            "select name from runs join owners using (owner_id) "
            f"where email = '{self.owner}' order by create_time desc, run_id desc")])
        self.assertGreaterEqual(len(listed), ACTIVE_LIMIT)

    def test_wrong_input_is_refused_with_a_code_and_a_reason(self):
        wrong = DEV.folder / "wrong.token"
        wrong.write_text("not-a-token")
        self.check_refused("UNAUTHENTICATED", "TOKEN_UNKNOWN", "quota", token=wrong)
        self.check_refused("UNAUTHENTICATED", "TOKEN_MISSING", "quota", token="")
        self.check_refused("PERMISSION_DENIED", "PERMISSION_MISSING", "quota", token=DEV.data_dir / "tokens/worker")
        self.check_refused("NOT_FOUND", "RUN_NOT_FOUND", "get", "no-such-run")
        self.check_refused("NOT_FOUND", "RUN_NOT_FOUND", "watch", "no-such-run")
        self.check_refused("INVALID_ARGUMENT", "BAD_NAME", "get", "no/such/run")
        data = ("--train-data", DEV.folder / "pairs.jsonl")
        bad = self.check_refused("INVALID_ARGUMENT", "BAD_REQUEST_ID", "create", *data, "--duration", "3weeks",
                                 "--learning-rate", "7", "--request-id", "no-uuid")
        # Every violation is there, the first one's reason above, the others' beside.
        fields = {field: bad["metadata"][f"reason:{field}"] for field, description in bad["violations"] if description}
        self.assertEqual(fields, {"request_id": "BAD_REQUEST_ID", "run.spec.training_duration": "BAD_DURATION",
                                  "run.spec.learning_rate": "BAD_LEARNING_RATE"})
        self.check_refused("FAILED_PRECONDITION", "MODEL_NOT_ALLOWED", "create", *data, "--model", "no/such-model")
        request_id = str(uuid.uuid4())
        run = self.create(self.name("refused"), "--request-id", request_id)
        self.check_refused("INVALID_ARGUMENT", "REQUEST_ID_REUSED", "create", "--name", self.name("refused"), *data,
                           "--request-id", request_id, "--duration", "2ep")
        self.check_refused("ALREADY_EXISTS", "NAME_TAKEN", "create", "--name", self.name("refused"), *data,
                           "--request-id", uuid.uuid4())
        self.check_refused("OUT_OF_RANGE", "CURSOR_AHEAD", "watch", "--after", "2", run["name"])
        self.call("cancel", run["name"])


class PythonClientTest(Clients, unittest.TestCase):
    language = "python"
    program = (PYTHON, HERE / "python/main.py")


class GoClientTest(Clients, unittest.TestCase):
    language = "go"
    program = (BUILD / "bin/client",)


if __name__ == "__main__":
    unittest.main(verbosity=2)
