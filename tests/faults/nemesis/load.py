#!/usr/bin/env python3
"""The users: a few owners' clients that do random things to a few runs, and watchers. Needs grpcio and the stubs.

`load.py CONFIG`, a JSON file with servers, tokens, seed, history, data. Steered by one JSON object a line on standard
input, each answered on standard output.
"""
import concurrent.futures
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time

import grpc
from finetuned.v1 import event_pb2, run_pb2, run_service_pb2 as api
from finetuned.v1 import worker_service_pb2 as worker_api, worker_service_pb2_grpc

import client as clients
import history
import watcher

CLIENTS = 8
# Runs that are acted on; older ones are left to end by themselves.
RECENT = 24
WATCHERS = 24
RESENDS = 100
RESEND_PAUSE = 0.2
DRAIN_SECONDS = 10
OPS = {"create": 30, "get": 22, "list": 6, "cancel": 9, "pause": 7, "resume": 10, "delete": 4, "stranger": 2}
MODES = {"ok": 60, "exit_1": 3, "exit_65": 2, "exit_75": 3, "signal": 3, "hang": 2, "deaf": 3, "forks": 2,
         "exits_early": 2, "half_checkpoint": 4, "flood": 2, "bad_utf8": 2, "old_stamps": 2}


class KnownRun:
    """A run as far as the load knows it."""

    def __init__(self, owner, name, uid):
        self.owner, self.name, self.uid = owner, name, uid
        self.deleted = False


class Load:
    """All users together, and what they know."""

    def __init__(self, config):
        self.config = config
        self.tokens, self.owners = config["tokens"], sorted(config["tokens"])
        self.out = history.Writer(config["history"])
        self.clients = [clients.Client(f"c{i}", config["servers"], self.out, f"{config['seed']}:{i}")
                        for i in range(CLIENTS)]
        self.helper = clients.Client("helper", config["servers"], self.out, f"{config['seed']}:helper")
        self.watch_client = clients.Client("watch", config["servers"], self.out, f"{config['seed']}:watch")
        self.feeds = [watcher.FeedWatcher(self.watch_client, owner, self.tokens[owner]) for owner in self.owners]
        for one in self.feeds:
            one.start()
        self.pool = concurrent.futures.ThreadPoolExecutor(CLIENTS * 2)
        self.lock = threading.Lock()
        self.runs = []
        self.watchers = []
        self.names = 0
        self.mode_weights = MODES
        self.going = threading.Event()
        self.background = []
        self.busy = [threading.Lock() for _ in self.clients]
        for client, busy in zip(self.clients, self.busy):
            threading.Thread(target=self.live, args=(client, busy), daemon=True).start()

    # ---- What one user does.

    def live(self, client, busy):
        while True:
            self.going.wait()
            with busy:
                if self.going.is_set():
                    self.act(client)
            time.sleep(client.random.uniform(0, self.config["pause"]))

    def act(self, client):
        op = client.random.choices(list(OPS), OPS.values())[0]
        run = self.pick(client.random)
        if op == "create" or run is None:
            owner = client.random.choice(self.owners)
            impatient = client.random.random() < 0.05
            return self.create(client, owner, clients.IMPATIENT_SECONDS if impatient else clients.CALL_SECONDS)
        token = self.tokens[run.owner]
        if op == "stranger":
            stranger = client.random.choice([owner for owner in self.owners if owner != run.owner])
            return client.on_run("get", stranger, self.tokens[stranger], run.name)
        if op == "list":
            return client.list(run.owner, token, page_size=client.random.choice([10, 50]))
        if op == "cancel":
            return client.cancel(run.owner, token, [run.name])
        if op == "delete":
            with self.lock:
                run.deleted = True
        return client.on_run(op, run.owner, token, run.name)

    def pick(self, chance):
        with self.lock:
            recent = self.runs[-RECENT:]
        return chance.choice(recent) if recent else None

    def request(self, client):
        mode = client.random.choices(list(self.mode_weights), self.mode_weights.values())[0]
        seconds = round(client.random.choice([0.5, 1, 2, 4, 8]) * client.random.uniform(0.8, 1.0), 2)
        with self.lock:
            self.names += 1
            name = f"{self.config['prefix']}-{self.names}" if client.random.random() < 0.5 else ""
        return client.create_request(f"{self.config['data']}/{mode}/{seconds}", name)

    def create(self, client, owner, seconds):
        """A create whose outcome is unknown is sent again, as a user would, until it is known."""
        request = self.request(client)
        code, run = client.create(owner, self.tokens[owner], request, seconds)
        self.settle(client, owner, request, code, run)

    def settle(self, client, owner, request, code, run):
        for _ in range(RESENDS):
            if code not in history.UNKNOWN:
                break
            time.sleep(RESEND_PAUSE)
            code, run = client.create(owner, self.tokens[owner], request, resend=True)
        if code == "OK":
            self.learn(owner, run)

    def learn(self, owner, run):
        known = KnownRun(owner, run.name, run.uid)
        with self.lock:
            self.runs.append(known)
            wanted = sum(not one.done for one in self.watchers) < WATCHERS
            if wanted:
                one = watcher.Watcher(self.watch_client, owner, self.tokens[owner], run.name, run.uid,
                                      len(self.watchers))
                self.watchers.append(one)
        if wanted:
            one.start()

    # ---- What the campaign asks for.

    def go(self, _):
        self.going.set()
        return {}

    def hush(self, _):
        """No call is in flight when this is answered."""
        self.going.clear()
        for busy in self.busy:
            with busy:
                pass
        for task in self.background:
            task.result()
        self.background = []
        return {}

    def start(self, task, request):
        """What may have to wait for a fault to be healed is not waited for, until `hush`."""
        self.background.append(self.pool.submit(task, request))
        return {}

    def drain(self, _):
        """Cancels what would not end by itself: what is paused."""
        for owner in self.owners:
            token = self.tokens[owner]
            code, answer = self.helper.list(owner, token, [run_pb2.Run.PAUSED], page_size=1000)
            for run in answer.runs if code == "OK" else ():
                self.helper.cancel(owner, token, [run.name])
        return {}

    def settle_watchers(self, request):
        left = watcher.wait_for_all(self.watchers, request["seconds"])
        for one in left:
            one.leave.set()
        behind = watcher.wait_for_feeds(self.feeds, request["runs"], request["seconds"])
        return {"left": [{"uid": one.uid, "cursor": one.cursor} for one in left] + behind,
                "watchers": len(self.watchers)}

    def final(self, request):
        """Every run's events as they are in the end; then all runs are forgotten."""
        found = list(self.pool.map(self.final_of, self.runs))
        with open(request["out"], "w", encoding="utf-8") as file:
            for line in found:
                file.write(json.dumps(line) + "\n")
        count = len(found)
        with self.lock:
            self.runs, self.watchers = [], []
        return {"runs": count}

    def final_of(self, run):
        line = {"uid": run.uid, "name": run.name, "owner": run.owner, "deleted": run.deleted}
        try:
            events = self.helper.events(run.owner, self.tokens[run.owner], run.name)
            steps = self.helper.steps(self.tokens[run.owner], run.name)
        except grpc.RpcError as error:
            return {**line, "code": error.code().name}
        return {**line, "code": "OK", "steps": steps, "events": [[event.seq, clients.event_digest(event), clients.event_type(event)]
                                                 for event in events]}

    def storm(self, request):
        return self.start(self.storm_now, request)

    def storm_now(self, request):
        """Many clients at one moment: the same runs canceled while they end, or creates at the limit."""
        chance = random.Random(request["seed"])
        owner = chance.choice(self.owners)
        barrier = threading.Barrier(CLIENTS)
        with self.lock:
            names = [run.name for run in self.runs if run.owner == owner][-10:]

        def cancel(client):
            barrier.wait(30)
            for name in names:
                client.cancel(owner, self.tokens[owner], [name])

        def create(client):
            requests = [self.request(client) for _ in range(4)]
            barrier.wait(30)
            for one in requests:
                code, run = client.create(owner, self.tokens[owner], one)
                self.settle(client, owner, one, code, run)

        mob = [clients.Client(f"storm{i}", self.config["servers"], self.out, f"{request['seed']}:{i}")
               for i in range(CLIENTS)]
        run = cancel if request["kind"] == "cancel" else create
        threads = [threading.Thread(target=run, args=(client,), daemon=True) for client in mob]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def die(self, request):
        return self.start(self.die_now, request)

    def die_now(self, request):
        """A client process that is killed in the middle of a create; afterwards another one asks again."""
        chance = random.Random(request["seed"])
        owner = chance.choice(self.owners)
        wanted = self.request(self.helper)
        replica = chance.choice(list(self.config["servers"]))
        inv = history.now()
        process = subprocess.Popen([sys.executable, "-B", os.path.abspath(__file__), "--one", replica, owner],
                                   stdin=subprocess.PIPE, env={**os.environ, "NEMESIS_LOAD_CONFIG": sys.argv[1]})
        process.stdin.write(wanted.SerializeToString())
        process.stdin.close()
        time.sleep(chance.uniform(0.15, 0.5))
        process.send_signal(signal.SIGKILL)
        process.wait()
        note = {"request_id": wanted.request_id, "name": wanted.run_id, "resend": False,
                "data": wanted.run.spec.train_data_path}
        self.out.write(op="create", proc="dying", replica=replica, owner=owner, request=note, inv=inv,
                       ret=history.now(), code="KILLED")
        self.settle(self.helper, owner, wanted, "KILLED", None)

    def stale_write(self, request):
        """Reports for an attempt that is over, in the worker's current session."""
        channel = grpc.insecure_channel(f"127.0.0.1:{request['port']}", clients.OPTIONS)
        item = worker_api.ReportEventsRequest.Item(
            attempt=worker_api.AttemptRef(run_id=request["run_id"], epoch=request["epoch"]),
            reports=[worker_api.Report(number=1000, event=event_pb2.RunEvent(type=event_pb2.RunEvent.STARTED))])
        inv, code, reasons = history.now(), "OK", []
        try:
            answer = worker_service_pb2_grpc.WorkerServiceStub(channel).ReportEvents(
                worker_api.ReportEventsRequest(session=request["session"], items=[item]), timeout=clients.CALL_SECONDS,
                metadata=[("authorization", f"Bearer {request['token']}")])
            reasons = [clients.reason_in(result.status) for result in answer.results]
        except grpc.RpcError as error:
            code, reasons = error.code().name, [clients.reason_of(error)]
        channel.close()
        self.out.write(op="stale_write", proc="stale", inv=inv, ret=history.now(), code=code, reasons=reasons,
                       request={"run_id": request["run_id"], "epoch": request["epoch"]})
        return {}

    def drain_worker(self, request):
        """Asks until it is answered for certain: it is idempotent."""
        wanted = api.DrainWorkerRequest(name=request["worker"], undo=request["undo"], stop_runs=request["stop_runs"])
        deadline = time.monotonic() + DRAIN_SECONDS
        code = "UNAVAILABLE"
        while code in history.UNKNOWN and time.monotonic() < deadline:
            code, _ = self.helper.call("drain", "root@example.com", request["token"], "DrainWorker", wanted,
                                       {"worker": request["worker"], "undo": request["undo"]}, lambda _: {})
        return {"code": code}

    def prepare(self, _):
        """Makes the run that probes write to: one that has ended, so that it stands in nobody's way."""
        owner = self.owners[0]
        _, self.probed = self.helper.create(owner, self.tokens[owner], self.request(self.helper))
        self.helper.cancel(owner, self.tokens[owner], [self.probed.name])
        return {}

    def probe(self, request):
        """How long it takes until a write through each daemon is acknowledged; in seconds."""
        began, owner = time.monotonic(), self.owners[0]

        def first_answer(replica):
            while time.monotonic() - began < request["seconds"]:
                asking = api.UpdateRunRequest(run=run_pb2.Run(name=self.probed.name, labels={
                    **self.probed.labels, "probe": str(history.now())}), update_mask={"paths": ["labels"]})
                code, _ = self.helper.call("probe", owner, self.tokens[owner], "UpdateRun", asking, {}, lambda _: {},
                                           clients.PROBE_SECONDS, replica)
                if code == "OK":
                    break
                time.sleep(0.02)
            return time.monotonic() - began

        return {"seconds": dict(zip(self.config["servers"], self.pool.map(first_answer, self.config["servers"])))}

    def modes(self, request):
        self.mode_weights = request["weights"] or MODES
        return {}


def serve(config):
    load = Load(config)
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(getattr(load, request["do"])(request)), flush=True)


def create_one(config, replica, owner):
    """A process that makes one call and is killed while it does."""
    client = clients.Client("dying", {replica: config["servers"][replica]}, history.Writer(os.devnull), 0)
    client.create(owner, config["tokens"][owner], api.CreateRunRequest.FromString(sys.stdin.buffer.read()))


if __name__ == "__main__":
    # Behind what is under test: an outage that the load makes longer is nobody's fault.
    os.nice(5)
    if sys.argv[1] == "--one":
        with open(os.environ["NEMESIS_LOAD_CONFIG"], encoding="utf-8") as file:
            create_one(json.load(file), sys.argv[2], sys.argv[3])
    else:
        with open(sys.argv[1], encoding="utf-8") as file:
            serve(json.load(file))
    # Threads of watchers and clients are left where they are.
    os._exit(0)
