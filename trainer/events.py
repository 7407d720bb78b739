"""The event file of trainer contract v1: JSON lines, one write(2) each, at most 64 KiB.

A reader may follow the file while it grows, so a line is never written in pieces: the file is open
with O_APPEND, and a line goes out in one system call.
"""

from __future__ import annotations

import json
import math
import os
import time
from datetime import datetime, timezone
from pathlib import Path

MAX_LINE_BYTES = 64 * 1024
# How often a trainer that is at work says so, at most and at least.
_WORKING_SECONDS = 60.0
_WORKING_PART_OF_STALL = 1 / 3
# What is left of a string in a line that would be too long; JSON may need 6 bytes a character.
_SHORTENED_CHARS = 4096


class EventWriter:
    """Appends events to `path`, which is created when absent."""

    def __init__(self, path: Path, stall_seconds: int | None = None) -> None:
        self._working_seconds = min(_WORKING_SECONDS,
                                    (stall_seconds or math.inf) * _WORKING_PART_OF_STALL)
        self._spoke = time.monotonic()
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._fd = os.open(path, flags, 0o644)

    def emit(self, type_: str, **fields: object) -> None:
        """Writes one event. Metrics that are not finite numbers are left out: JSON has none."""
        event = {"v": 1, "ts": now(), "type": type_, **fields}
        if isinstance(metrics := event.get("metrics"), dict):
            event["metrics"] = {k: v for k, v in metrics.items() if math.isfinite(v)}
        line = _encode(event)
        if len(line) > MAX_LINE_BYTES:
            line = _encode({key: _shorten(value) for key, value in event.items()})
        written = os.write(self._fd, line)
        if written != len(line):
            raise OSError(f"wrote {written} of {len(line)} bytes of an event")
        self._spoke = time.monotonic()

    def working(self) -> None:
        """Says that the trainer is at work, where it has said nothing for a while. Cheap to call often."""
        if time.monotonic() - self._spoke >= self._working_seconds:
            self.emit("working")

    def close(self) -> None:
        os.close(self._fd)


def now() -> str:
    """The time as RFC 3339 in UTC with milliseconds."""
    text = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def plain(value: object) -> object:
    """The value with lone surrogates, which stand for bytes that are no text, written out.

    Python makes them of file names and of JSON escapes; other readers of JSON refuse them.
    """
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, dict):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def _encode(event: dict[str, object]) -> bytes:
    text = json.dumps(plain(event), separators=(",", ":"), allow_nan=False)
    return text.encode("ascii") + b"\n"


def _shorten(value: object) -> object:
    if isinstance(value, str) and len(value) > _SHORTENED_CHARS:
        return value[:_SHORTENED_CHARS] + " [shortened]"
    if isinstance(value, (list, dict)) and len(_encode({"": value})) > _SHORTENED_CHARS:
        return None
    return value
