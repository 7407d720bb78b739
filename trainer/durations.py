"""Training lengths and save intervals: `1ep`, `30ba`, `10000tok`.

The grammar is the strict one of the public API. Liberal spellings (`1_000_000tok`, `3e4tok`, a bare
integer) are the SDK's business and never reach a trainer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from trainer.errors import TrainerError

EPOCH, BATCH, TOKEN = "ep", "ba", "tok"
_GRAMMAR = re.compile(r"([1-9][0-9]{0,14})(ep|ba|tok)", re.ASCII)


@dataclass(frozen=True)
class Duration:
    """`value` epochs, batches or tokens; `value` is at least 1 and below 10**15."""

    value: int
    unit: str

    def __str__(self) -> str:
        return f"{self.value}{self.unit}"


def parse(text: object, field: str) -> Duration:
    """Reads `text`; `field` names the spec's field in the error."""
    match = _GRAMMAR.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise TrainerError(
            "INVALID_DURATION",
            f"{field}: Invalid time string: {text}. Expected a whole number above 0, of at most "
            "15 digits, and a unit: ep (epochs), ba (batches) or tok (tokens); for example 1ep.",
            field=field)
    return Duration(int(match[1]), match[2])
