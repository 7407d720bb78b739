"""The history of a campaign: one JSON object a line, written as things happen, read by the checkers.

An operation is written when its outcome is known, with `inv` and `ret`, nanoseconds of the host's monotonic clock. What
a client was about to do when it was killed is written by whoever killed it, with the code KILLED.
"""
import hashlib
import json
import threading
import time

# After these nobody can say whether the call had an effect; every other error says that it had none.
UNKNOWN = {"UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED", "KILLED", "UNKNOWN", "INTERNAL"}
TERMINAL = {"COMPLETED", "FAILED", "STOPPED"}


def now():
    return time.monotonic_ns()


def digest(data):
    return hashlib.sha256(data).hexdigest()[:16]


class Writer:
    """Appends lines; safe for many threads."""

    def __init__(self, path):
        self._file = open(path, "a", encoding="utf-8")
        self._lock = threading.Lock()

    def write(self, **line):
        text = json.dumps(line)
        with self._lock:
            self._file.write(text + "\n")
            self._file.flush()


def read(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]
