"""Reads examples from Parquet, a group of rows at a time.

The columns are `prompt` and `response` (or `completion`), or `messages`: a list of structures with
`role` and `content`, or a string with the JSON that a JSON Lines file would have there.
"""

from __future__ import annotations

import json
from typing import BinaryIO, Iterator

import pyarrow
from pyarrow import compute, parquet

from trainer import examples
from trainer.data_errors import Problem, problem

# (number of the row, from 1; the example or what is wrong with the row)
Row = tuple[int, object]
# Few, because a file of some kilobytes may hold one long value in all rows.
BATCH_ROWS = 64


def read(file: BinaryIO, path: str, max_value_bytes: int) -> Iterator[Row]:
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
            if _longest(batch) > max_value_bytes:
                while _longest(batch.slice(0, 1)) <= max_value_bytes:
                    number, batch = number + 1, batch.slice(1)
                yield number + 1, problem("LINE_TOO_LONG", max_value_bytes, file=path, line=number + 1)
                return
            for row in batch.to_pylist():
                number += 1
                yield number, _example(row, {"file": path, "line": number})
    except MemoryError:  # pyarrow's own is an ArrowException too, and no fault of the file
        raise
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError, KeyError) as error:  # also by odd dates
        yield number + 1, problem("INVALID_PARQUET", _one_line(error), file=path,
                                  line=number + 1 if number else None)


def _longest(values: pyarrow.RecordBatch | pyarrow.Array) -> int:
    """The length in bytes of the longest text in some rows, also within lists and structures."""
    if isinstance(values, pyarrow.RecordBatch):
        return max(map(_longest, values.columns), default=0)
    kind = values.type
    if pyarrow.types.is_dictionary(kind):
        return _longest(values.dictionary)
    if pyarrow.types.is_list(kind) or pyarrow.types.is_large_list(kind) or pyarrow.types.is_struct(kind):
        inner = values.flatten()
        return max(map(_longest, inner if isinstance(inner, list) else [inner]), default=0)
    if pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind):
        return compute.max(compute.binary_length(values)).as_py() or 0
    return 0


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
