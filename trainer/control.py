"""What the agent asks of a running trainer: a small JSON file and SIGTERM.

The agent replaces the file atomically, so a new request shows as a new inode or a new mtime, and
one stat(2) a batch is all that watching costs. SIGTERM only sets a flag: the loop looks at it where
it can stop cleanly.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

CANCEL, PREEMPT = "cancel", "preempt"
STOPS = (CANCEL, PREEMPT, "pause", "deadline")


class Control:
    """Watches one control file (which may be absent) and, once installed, SIGTERM."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._signalled = False
        self._stop: str | None = None
        self._requested = 0
        self._read()
        self._served = self._requested  # requests made to an earlier attempt are not ours

    def install_signal_handler(self) -> None:
        signal.signal(signal.SIGTERM, self._on_signal)

    def stop_kind(self) -> str | None:
        """The kind of stop asked for, or None. A SIGTERM without a kind means preempt."""
        self._read()
        return self._stop or (PREEMPT if self._signalled else None)

    def take_checkpoint_request(self) -> bool:
        """True once for each time that `checkpoint_now` has grown."""
        self._read()
        asked = self._requested > self._served
        self._served = self._requested
        return asked

    def _on_signal(self, signum: int, frame: object) -> None:
        self._signalled = True

    def _read(self) -> None:
        if self._path is None:
            return
        try:
            stat = os.stat(self._path)
            seen = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
            if seen == self._seen:
                return
            wish = json.loads(self._path.read_bytes())
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            print(f"trainer: control file {self._path}: {error}", file=sys.stderr)
            return
        self._seen = seen
        if not isinstance(wish, dict):
            return
        if wish.get("stop") in STOPS:
            self._stop = wish["stop"]
        try:
            self._requested = max(self._requested, int(wish.get("checkpoint_now") or 0))
        except (TypeError, ValueError):
            print(f"trainer: control file: checkpoint_now {wish['checkpoint_now']!r}",
                  file=sys.stderr)
