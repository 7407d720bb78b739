"""One subscriber: follows a run to its end over any number of broken streams, always from its last number."""
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


def wait_for_all(watchers, seconds):
    """Those that have not come to their end by then."""
    deadline = time.monotonic() + seconds
    for one in watchers:
        one.join(max(0, deadline - time.monotonic()))
    return [one for one in watchers if not one.done]
