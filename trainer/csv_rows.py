"""Reads examples from comma-separated values (RFC 4180), in UTF-8, with a header.

The header names the columns: `prompt` and `response` (or `completion`), or `messages`, whose values
are the JSON that a JSON Lines file would have there. Values may hold commas, quotes and line breaks
between double quotes, in which a quote is written twice.
"""

from __future__ import annotations

import csv
import json
from typing import BinaryIO, Callable, Iterator

from trainer import examples
from trainer.data_errors import Problem, problem

# (line on which the row begins, the example or what is wrong with the row)
Row = tuple[int, object]


def read(file: BinaryIO, path: str, max_value_bytes: int,
         describe: Callable[[Exception, bytes], str]) -> Iterator[Row]:
    """The rows of a file. After what makes the rest unreadable, nothing follows."""
    csv.field_size_limit(max_value_bytes)
    rows = csv.reader(_text(file), strict=True)
    header: list[str] | None = None
    line = 1
    while True:
        place = {"file": path, "line": line}
        try:
            values = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            yield line, problem("INVALID_CSV", error, **place)
            return
        except UnicodeDecodeError:
            place["line"] = rows.line_num + 1
            yield line, problem("NOT_UTF8", path, **place)
            return
        if not values:
            pass  # a blank line
        elif header is None:
            header = values
            found = _check_header(header, place)
            if found is not None:
                yield line, found
                return
        elif len(values) != len(header):
            yield line, problem("INVALID_CSV", f"{len(values)} values where the header names "
                                f"{len(header)} columns", **place)
        else:
            yield line, _example(dict(zip(header, values)), describe, place)
        line = rows.line_num + 1


def _text(file: BinaryIO) -> Iterator[str]:
    for number, raw in enumerate(file):
        yield raw.decode("utf-8-sig" if number == 0 else "utf-8")


def _check_header(header: list[str], place: dict) -> Problem | None:
    if examples.are_known_keys(header):
        return None
    return problem("UNKNOWN_EXAMPLE_TYPE", "{" + ", ".join(map(repr, header)) + "}", **place)


def _example(row: dict, describe: Callable[[Exception, bytes], str], place: dict) -> object:
    if "messages" not in row:
        return row
    try:
        return {"messages": json.loads(row["messages"])}
    except (ValueError, RecursionError) as error:
        return problem("INVALID_JSON_VALUE", describe(error, row["messages"].encode()), **place)
