"""Subscribers over any number of broken streams: of one run, from its last number, and of all runs, from a cursor."""
import threading
import time

import grpc
from finetuned.v1 import run_service_pb2 as api

import client as clients
import history

STREAM_SECONDS = 20
BACKOFF_SECONDS = 0.2
# The daemon's own word that there is nothing more to get here.
FINAL = {"NOT_FOUND", "OUT_OF_RANGE", "PERMISSION_DENIED", "UNAUTHENTICATED", "INVALID_ARGUMENT"}


class Watcher(threading.Thread):
    """Writes a line for each event it gets and one for each end of a stream."""

    def __init__(self, client, owner, token, name, uid, number):
        super().__init__(daemon=True)
        self.client, self.owner, self.token, self.number = client, owner, token, number
        self.run_name, self.uid = name, uid
        self.cursor = 0
        self.done = False
        self.leave = threading.Event()

    def run(self):
        while not self.done and not self.leave.is_set():
            code, reason, began = self.follow()
            self.client.out.write(op="stream_end", watch=self.number, uid=self.uid, code=code, reason=reason,
                                  cursor=self.cursor, inv=began, ret=history.now())
            self.done = code == "OK" or code in FINAL
            if not self.done:
                self.leave.wait(BACKOFF_SECONDS)

    def follow(self):
        stub = self.client.stubs[self.client.random.choice(list(self.client.stubs))]
        began = history.now()
        try:
            stream = stub.WatchEvents(api.WatchEventsRequest(name=self.run_name, after_seq=self.cursor),
                                      timeout=STREAM_SECONDS, metadata=[("authorization", f"Bearer {self.token}")])
            for message in stream:
                for event in message.events:
                    self.client.out.write(op="event", watch=self.number, uid=self.uid, seq=event.seq,
                                          digest=clients.event_digest(event), type=clients.event_type(event),
                                          ret=history.now())
                    self.cursor = event.seq
            return "OK", "", began
        except grpc.RpcError as error:
            return error.code().name, clients.reason_of(error), began


class FeedWatcher(threading.Thread):
    """Follows all runs of an owner in one stream, from the beginning and for ever, through any daemon."""

    def __init__(self, client, owner, token):
        super().__init__(daemon=True)
        self.client, self.owner, self.token = client, owner, token
        self.cursor = ""
        # The last number of each run.
        self.seen = {}

    def run(self):
        while True:
            code, reason, began = self.follow()
            self.client.out.write(op="feed_end", owner=self.owner, code=code, reason=reason, inv=began,
                                  ret=history.now())
            time.sleep(BACKOFF_SECONDS)

    def follow(self):
        stub = self.client.stubs[self.client.random.choice(list(self.client.stubs))]
        began = history.now()
        try:
            request = api.WatchEventsRequest(parent="workspaces/-", cursor=self.cursor)
            for message in stub.WatchEvents(request, timeout=STREAM_SECONDS,
                                            metadata=[("authorization", f"Bearer {self.token}")]):
                for event in message.events:
                    run = event.run.rsplit("/", 1)[1]
                    event.ClearField("run")  # Which the run's own stream does not tell.
                    self.client.out.write(op="feed_event", owner=self.owner, run=run, seq=event.seq,
                                          digest=clients.event_digest(event), ret=history.now())
                    self.seen[run] = event.seq
                self.cursor = message.cursor
            return "OK", "", began
        except grpc.RpcError as error:
            return error.code().name, clients.reason_of(error), began

    def lacks(self, wanted):
        """Which of the runs, given with their last numbers, have not come to it."""
        return {run: self.seen.get(run, 0) for run, seq in wanted.items() if self.seen.get(run, 0) < seq}


def wait_for_feeds(watchers, wanted, seconds):
    """What they lack by then."""
    deadline = time.monotonic() + seconds
    while True:
        left = [{"uid": run, "cursor": seq} for one in watchers
                for run, seq in one.lacks(wanted.get(one.owner, {})).items()]
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(BACKOFF_SECONDS)


def wait_for_all(watchers, seconds):
    """Those that have not come to their end by then."""
    deadline = time.monotonic() + seconds
    for one in watchers:
        one.join(max(0, deadline - time.monotonic()))
    return [one for one in watchers if not one.done]
