"""Reads examples from Parquet, a group of rows at a time.

The columns are `prompt` and `response` (or `completion`), or `messages`: a list of structures with
`role` and `content`, or a string with the JSON that a JSON Lines file would have there.
"""

from __future__ import annotations

import json
from typing import BinaryIO, Iterator

import pyarrow
from pyarrow import parquet

from trainer import examples
from trainer.data_errors import Problem, problem

# (number of the row, from 1; the example or what is wrong with the row)
Row = tuple[int, object]
BATCH_ROWS = 1024


def read(file: BinaryIO, path: str) -> Iterator[Row]:
    """The rows of a file. After what makes the rest unreadable, nothing follows."""
    number = 0
    try:
        source = parquet.ParquetFile(file)
        names = source.schema_arrow.names
        if not examples.are_known_keys(names):
            yield 1, problem("UNKNOWN_EXAMPLE_TYPE", "{" + ", ".join(map(repr, names)) + "}",
                             file=path)
            return
        for batch in source.iter_batches(batch_size=BATCH_ROWS):
            for row in batch.to_pylist():
                number += 1
                yield number, _example(row, {"file": path, "line": number})
    except MemoryError:  # pyarrow's own is an ArrowException too, and no fault of the file
        raise
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError, KeyError) as error:  # also by odd dates
        yield number + 1, problem("INVALID_PARQUET", _one_line(error), file=path,
                                  line=number + 1 if number else None)


def _example(row: dict, place: dict) -> object:
    messages = row.get("messages")
    if not isinstance(messages, str):
        return row
    try:
        return {"messages": json.loads(messages)}
    except (ValueError, RecursionError) as error:
        return problem("INVALID_JSON_VALUE", f"JSON that cannot be read: {error}", **place)


def _one_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
