"""Which samples share a row of a batch: one each, or packed up to the context length.

Packed samples do not see each other: attention ends at a sample's borders and positions start anew
(`batches.collate`), so packing changes the cost of a run and not what a sample teaches.
"""

from __future__ import annotations

from array import array

from trainer.data import Dataset

# Rows that are still being filled, when packing; a sample goes into the fullest one it fits.
MAX_OPEN_ROWS = 64


class Rows:
    """The rows of a dataset, numbered from 0. A function of the data alone."""

    def __init__(self, data: Dataset, packed_length: int | None) -> None:
        self.data = data
        self._samples = array("q")
        self._starts = array("q", [0])
        self.packed = packed_length is not None
        if packed_length is not None:
            for row in _pack(data, packed_length):
                self._samples.extend(row)
                self._starts.append(len(self._samples))

    def __len__(self) -> int:
        return len(self._starts) - 1 if self.packed else len(self.data)

    def samples(self, row: int) -> list[int]:
        if not self.packed:
            return [row]
        return self._samples[self._starts[row]:self._starts[row + 1]].tolist()

    def tokens(self, row: int) -> int:
        return sum(self.data.length(index) for index in self.samples(row))


def _pack(data: Dataset, length: int) -> list[list[int]]:
    """Rows of at most `length` tokens, in the order in which each got its first sample."""
    rows: list[list[int]] = []
    open_rows: dict[int, int] = {}  # number of a row that has room: how much
    for index in range(len(data)):
        size = data.length(index)
        fitting = [(room, row) for row, room in open_rows.items() if room >= size]
        if fitting:
            room, row = min(fitting)
            rows[row].append(index)
        else:
            room, row = length, len(rows)
            rows.append([index])
            if len(open_rows) == MAX_OPEN_ROWS:
                del open_rows[min(open_rows, key=lambda number: (open_rows[number], number))]
        open_rows[row] = room - size
        if open_rows[row] == 0:
            del open_rows[row]
    return rows
