"""Reads training and evaluation data into token ids, and says everything that is wrong with them.

A file is streamed: what is held in memory are the token ids, four bytes each. Blank lines, CRLF and
a byte order mark at the start of a file are accepted silently.
"""

from __future__ import annotations

import hashlib
import json
import os
from array import array
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Callable, Iterator

from trainer import csv_rows, examples, spec
from trainer.data_errors import Problem, ProblemReport, not_enough_samples, problem
from trainer.tokenizer import ChatTemplateError, ModelTokenizer

# The longest line accepted in a JSON Lines file. A line is held in memory as a whole; at 4 bytes a
# token this is far beyond any context length that a model of today has.
MAX_LINE_BYTES = 8 * 1024 * 1024
# Text is tokenised in pieces of about this size, cut at line ends.
_TEXT_PIECE_CHARS = 1024 * 1024
_BOM = b"\xef\xbb\xbf"


@dataclass
class Dataset:
    """Samples of at most `context_length` ids; of each, ids from `loss_start` on are learned."""

    ids: array = field(default_factory=lambda: array("i"))
    starts: array = field(default_factory=lambda: array("q", [0]))
    loss_starts: array = field(default_factory=lambda: array("i"))
    truncated: int = 0  # samples cut to the context length
    dropped: int = 0  # samples of which nothing would have been learned

    def __len__(self) -> int:
        return len(self.loss_starts)

    def length(self, index: int) -> int:
        return self.starts[index + 1] - self.starts[index]

    def sample(self, index: int) -> array:
        return self.ids[self.starts[index]:self.starts[index + 1]]

    def add(self, ids: list[int], loss_start: int, context_length: int) -> None:
        if loss_start >= min(len(ids), context_length):
            self.dropped += 1
            return
        if len(ids) > context_length:
            self.truncated += 1
            ids = ids[:context_length]
        self.ids.extend(ids)
        self.starts.append(len(self.ids))
        self.loss_starts.append(max(1, loss_start))  # the first id has nothing before it

    def fingerprint(self) -> str:
        """Tells whether a resumed run sees the data it started with."""
        digest = hashlib.sha256()
        for column in (self.ids, self.starts, self.loss_starts):
            digest.update(column.tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class DataFile:
    """A file with examples or text; `name` is what the user reads of it."""

    name: str
    path: Path


class Reader:
    """Reads one dataset; `check_stop` is called now and then and may raise."""

    def __init__(self, tokenizer: ModelTokenizer, context_length: int, split: str,
                 check_stop: Callable[[], None]) -> None:
        self._tokenizer = tokenizer
        self._context_length = context_length
        self._report = ProblemReport(split)
        self._split = "eval" if split == "evaluation" else "train"
        self._check_stop = check_stop
        self._data = Dataset()

    def read(self, path: str, task_type: str, min_samples: int,
             files: list[DataFile] | None = None) -> Dataset:
        """The data at `path`, or in `files`, which it stands for; raises a TrainerError that lists all that is
        wrong with them."""
        try:
            if task_type == spec.CONTINUED_PRETRAIN:
                self._read_texts(path, _text_files(path) if files is None else files)
            else:
                self._read_examples(path, [DataFile(path, Path(path))] if files is None else files)
        except OSError as error:
            self._report.add(problem("DATA_NOT_READABLE", error, file=path))
        if not self._report.counts and len(self._data) < min_samples:
            self._report.add(not_enough_samples(path, self._split, len(self._data), min_samples))
        self._report.raise_if_any()
        return self._data

    def _read_examples(self, path: str, files: list[DataFile]) -> None:
        """Checks every example before it tokenises the first: of a large file, checking takes minutes and tokenising
        hours, and the last line may be the wrong one."""
        if not self._each_example(files, lambda example, place: None):
            self._report.add(problem("NO_EXAMPLES", path, file=path))
        elif not self._report.counts:
            self._each_example(files, self._add_example)

    def _each_example(self, files: list[DataFile], take: Callable[[dict, dict], None]) -> int:
        """Calls `take` with every good example and its place and reports the others; gives the number of both."""
        count = 0
        for file in files:
            read = _reader_of(file.name)
            if read is None:
                self._report.add(problem("INVALID_FILE_EXTENSION", file.name, file=file.name))
                return max(1, count)
            with open(file.path, "rb") as content:
                for number, found in read(content, file.name):
                    count += 1
                    place = {"file": file.name, "line": number}
                    fault = found if isinstance(found, Problem) else examples.check(found, **place)
                    if fault is None:
                        take(found, place)
                    else:
                        self._report.add(fault)
                    if count % 64 == 0:
                        self._check_stop()
        return count

    def _add_example(self, example: dict, place: dict) -> None:
        if self._report.counts:
            return  # tokens of data that will be refused are not needed
        try:
            if "messages" in example:
                ids, start = self._tokenizer.encode_chat(example["messages"])
            else:
                response = example[examples.response_key(example)]
                ids, start = self._tokenizer.encode_pair(example["prompt"], response)
        except ChatTemplateError as error:
            self._report.add(problem("CHAT_TEMPLATE_ERROR", error, **place))
            return
        self._data.add(ids, start, self._context_length)

    def _read_texts(self, path: str, files: list[DataFile]) -> None:
        """Joins the documents, each between the model's begin and end tokens, and cuts blocks."""
        if not files:
            self._report.add(problem("NO_TEXT_FILES", path, file=path))
            return
        pending: list[int] = []
        for file in files:
            pending += self._tokenizer.prefix
            try:
                with open(file.path, encoding="utf-8-sig") as text:
                    while piece := text.read(_TEXT_PIECE_CHARS):
                        piece += text.readline(_TEXT_PIECE_CHARS)
                        pending += self._tokenizer.encode(piece)
                        pending = self._cut_blocks(pending)
                        self._check_stop()
            except UnicodeDecodeError:
                self._report.add(problem("NOT_UTF8", file.name, file=file.name, line=_bad_line(file.path)))
            pending += self._tokenizer.end
        pending = self._cut_blocks(pending)
        if len(pending) > 1:
            self._data.add(pending, 1, self._context_length)

    def _cut_blocks(self, ids: list[int]) -> list[int]:
        """Adds the whole blocks at the front of `ids` and returns what is left."""
        whole = len(ids) - len(ids) % self._context_length
        for start in range(0, whole, self._context_length):
            self._data.add(ids[start:start + self._context_length], 1, self._context_length)
        return ids[whole:]


def _text_files(folder: str) -> list[DataFile]:
    files = sorted(Path(within) / name for within, _, names in os.walk(folder, onerror=_raise)
                   for name in names if name.endswith(".txt"))
    return [DataFile(str(file), file) for file in files]


def _reader_of(name: str) -> Callable[[BinaryIO, str], Iterator[csv_rows.Row]] | None:
    if name.endswith((".jsonl", ".json")):
        return _json_lines
    if name.endswith(".csv"):
        return _csv_rows
    return _parquet_rows if name.endswith(".parquet") else None


def _json_lines(file: BinaryIO, path: str) -> Iterator[csv_rows.Row]:
    """The examples of a JSON Lines file with their lines, or what is wrong with a line."""
    for number, raw in _lines(file):
        if not raw.strip():
            continue
        place = {"file": path, "line": number}
        if len(raw) > MAX_LINE_BYTES:
            yield number, problem("LINE_TOO_LONG", MAX_LINE_BYTES, **place)
            continue
        try:
            example = json.loads(raw.decode("utf-8"))
        except UnicodeDecodeError:
            yield number, problem("NOT_UTF8", path, **place)
        except (ValueError, RecursionError) as error:
            yield number, problem("INVALID_JSON", _describe(error, raw), **place)
        else:
            yield number, example


def _csv_rows(file: BinaryIO, path: str) -> Iterator[csv_rows.Row]:
    return csv_rows.read(file, path, MAX_LINE_BYTES, _describe)


def _parquet_rows(file: BinaryIO, path: str) -> Iterator[csv_rows.Row]:
    from trainer import parquet_rows  # loads pyarrow, which takes half a second

    return parquet_rows.read(file, path, MAX_LINE_BYTES)


def _lines(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Numbered lines; of one beyond MAX_LINE_BYTES only its beginning is kept."""
    number = 0
    while raw := file.readline(MAX_LINE_BYTES + 1):
        number += 1
        piece = raw
        while len(piece) > MAX_LINE_BYTES and not piece.endswith(b"\n"):
            piece = file.readline(MAX_LINE_BYTES + 1)
        if number == 1 and raw.startswith(_BOM):
            raw = raw[len(_BOM):]
        yield number, raw


def _describe(error: Exception, raw: bytes) -> str:
    """What the JSON parser stumbled over, with the column in bytes and a hint where one is sure."""
    if not isinstance(error, json.JSONDecodeError):
        return f"JSON that cannot be read: {error}"
    before = raw.decode("utf-8")[:error.pos]
    text = f"{error.msg} at byte {len(before.encode('utf-8')) + 1}"
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        text += " (the file looks like UTF-16)"
    elif before.rstrip().endswith(","):
        text += " (a trailing comma?)"
    elif raw.strip() in (b"[", b"{"):
        text += " (a JSON document over several lines?)"
    return text


def _bad_line(file: Path) -> int | None:
    with open(file, "rb") as raw:
        for number, line in enumerate(raw, 1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return number
    return None


def _raise(error: OSError) -> None:
    raise error
