#!/usr/bin/env python3
"""Many subscribers of all runs, each of which must get every event once and in order. Needs grpcio and the stubs.

`subscribers.py CONFIG`, a JSON file with servers, token, count, seed. Steered by one JSON object a line on standard
input, each answered on standard output: create, stop, leave, progress, check.
"""
import json
import random
import sys
import threading
import time

import grpc
from finetuned.v1 import run_pb2, run_service_pb2 as api, run_service_pb2_grpc

import client as clients

BACKOFF_SECONDS = 0.1
STREAM_SECONDS = 60
# Longer than a daemon waits for a subscriber that takes nothing.
STOP_SECONDS = 25


class Subscriber(threading.Thread):
    """Follows from the beginning, through any daemon, and counts what comes twice, too early or too late."""

    def __init__(self, number, config):
        super().__init__(daemon=True)
        self.random = random.Random(f"{config['seed']}:{number}")
        self.token = config["token"]
        # Connections of its own: one that is stopped must not stop the others.
        self.stubs = [run_service_pb2_grpc.RunServiceStub(grpc.insecure_channel(f"127.0.0.1:{port}", clients.OPTIONS))
                      for port in config["servers"].values()]
        self.cursor = ""
        self.seen = {}
        self.delivered = self.wrong = self.streams = 0
        self.stopped_until = 0
        self.stream = None
        self.endings = {}

    def run(self):
        while True:
            code = self.follow()
            self.endings[code] = self.endings.get(code, 0) + 1
            time.sleep(BACKOFF_SECONDS)

    def follow(self):
        self.streams += 1
        try:
            self.stream = self.random.choice(self.stubs).WatchEvents(
                api.WatchEventsRequest(parent="workspaces/-", cursor=self.cursor), timeout=STREAM_SECONDS,
                metadata=[("authorization", f"Bearer {self.token}")])
            for message in self.stream:
                for event in message.events:
                    run, seq = event.run, event.seq
                    if seq != self.seen.get(run, 0) + 1:
                        self.wrong += 1
                    self.seen[run] = seq
                self.delivered += len(message.events)
                self.cursor = message.cursor
                if (left := self.stopped_until - time.monotonic()) > 0:
                    time.sleep(left)
            return "OK"
        except grpc.RpcError as error:
            return clients.reason_of(error) or error.code().name


class Crowd:
    """All of them, and the runs they follow."""

    def __init__(self, config):
        self.config = config
        self.random = random.Random(config["seed"])
        self.all = [Subscriber(number, config) for number in range(config["count"])]
        self.creator = self.all[0]
        for one in self.all:
            one.start()

    def create(self, request):
        """Runs whose trainers say much, of an owner each."""
        created = []
        for token in request["tokens"]:
            spec = run_pb2.RunSpec(model="finetuned/tiny-llama", task_type=run_pb2.RunSpec.INSTRUCTION_FINETUNE,
                                   train_data_path=request["data"], training_duration="8ba", save_interval="8ba",
                                   learning_rate=0.001)
            run = self.creator.stubs[0].CreateRun(api.CreateRunRequest(run=run_pb2.Run(spec=spec)), timeout=10,
                                                  metadata=[("authorization", f"Bearer {token}")])
            created.append(run.name)
        return {"runs": created}

    def stop(self, request):
        """Some take nothing for a while; what comes meanwhile fills their connections."""
        for one in self.random.sample(self.all, request["count"]):
            one.stopped_until = time.monotonic() + STOP_SECONDS
        return {}

    def leave(self, request):
        """Some go in the middle of a message's way, and come again from their cursor."""
        for one in self.random.sample(self.all, request["count"]):
            if one.stream is not None:
                one.stream.cancel()
        return {}

    def progress(self, _):
        endings = {}
        for one in self.all:
            for code, count in list(one.endings.items()):
                endings[code] = endings.get(code, 0) + count
        return {"delivered": sum(one.delivered for one in self.all), "wrong": sum(one.wrong for one in self.all),
                "streams": sum(one.streams for one in self.all), "endings": endings}

    def check(self, request):
        """Which subscribers lack which runs' events, given the last number of each."""
        behind = [[number, run, one.seen.get(run, 0)] for number, one in enumerate(self.all)
                  for run, seq in request["runs"].items() if one.seen.get(run, 0) != seq]
        return {"behind": behind[:10], "count": len(behind)}


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        crowd = Crowd(json.load(file))
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(getattr(crowd, request["do"])(request)), flush=True)


if __name__ == "__main__":
    main()
