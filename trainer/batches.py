"""Which rows make up which batch, and how many batches a run has.

Everything here is a function of the data and the specification alone: an attempt that resumes at
batch n sees exactly the batches that an uninterrupted one would have seen from there on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterator

import torch
from torch import Tensor

from trainer import durations
from trainer.durations import Duration
from trainer.llama import IGNORE
from trainer.rows import Rows


@dataclass(frozen=True)
class Position:
    """How far a run has come: whole epochs, global batches and tokens, all of them completed."""

    epoch: int = 0
    step: int = 0
    tokens: int = 0


class BatchPlan:
    """The run's batches. The last batch of an epoch may be smaller: no sample is left out."""

    def __init__(self, rows: Rows, duration: Duration, batch_size: int, seed: int) -> None:
        self._rows = rows
        self._batch_size = batch_size
        self._seed = seed
        self.per_epoch = -(-len(rows) // batch_size)
        self.tokens_per_epoch = len(rows.data.ids)
        self.max_tokens = duration.value if duration.unit == durations.TOKEN else None
        self._in_batches = duration.unit == durations.BATCH
        self.total = self._total(duration)
        self.epochs = -(-self.total // self.per_epoch)

    def place(self, step: int) -> dict[str, int]:
        """Where batch `step` (counted from 1) stands, in the unit the duration was given in.

        A run in batches counts them over all epochs and has no number of epochs.
        """
        epoch, batch = divmod(step - 1, self.per_epoch)
        if self._in_batches:
            return {"epoch": epoch + 1, "epochs": 0, "batch": step, "batches": self.total}
        return {"epoch": epoch + 1, "epochs": self.epochs, "batch": batch + 1,
                "batches": self.per_epoch}

    def order(self, epoch: int) -> list[int]:
        """The row numbers of the epoch (counted from 0), shuffled."""
        generator = torch.Generator().manual_seed(self._seed + epoch)
        return torch.randperm(len(self._rows), generator=generator).tolist()

    def from_step(self, step: int) -> Iterator[list[int]]:
        """The row numbers of each batch from global batch `step` to the end."""
        order: list[int] = []
        for number in range(step, self.total):
            epoch, batch = divmod(number, self.per_epoch)
            if batch == 0 or number == step:
                order = self.order(epoch)
            yield self._slice(order, batch)

    def after(self, position: Position, batch: list[int]) -> Position:
        """The position once `batch` is done, from the one before it."""
        step = position.step + 1
        return Position(step // self.per_epoch, step,
                        position.tokens + sum(self._rows.tokens(row) for row in batch))

    def interval_ends(self, interval: Duration, before: Position, now: Position) -> bool:
        """Whether a save interval ended with the batch between two positions."""
        attribute = {durations.EPOCH: "epoch", durations.BATCH: "step",
                     durations.TOKEN: "tokens"}[interval.unit]
        return (getattr(now, attribute) // interval.value
                > getattr(before, attribute) // interval.value)

    def _slice(self, order: list[int], batch: int) -> list[int]:
        return order[batch * self._batch_size:(batch + 1) * self._batch_size]

    def _total(self, duration: Duration) -> int:
        if duration.unit == durations.EPOCH:
            return duration.value * self.per_epoch
        if duration.unit == durations.BATCH:
            return duration.value
        # A length in tokens ends with the batch that reaches it: whole epochs are counted, and
        # only the last one is walked through.
        epochs, left = divmod(duration.value, self.tokens_per_epoch)
        order = self.order(epochs)
        batches = 0
        while left > 0:
            left -= sum(self._rows.tokens(row) for row in self._slice(order, batches))
            batches += 1
        return epochs * self.per_epoch + batches


@dataclass(frozen=True)
class Batch:
    """Tensors of shape (rows, length). `positions` and `segments` are None without packing."""

    ids: Tensor
    labels: Tensor
    positions: Tensor | None = None
    segments: Tensor | None = None

    def learned_tokens(self) -> int:
        return int((self.labels != IGNORE).sum())


def collate(rows: Rows, numbers: list[int], device: torch.device | str = "cpu") -> Batch:
    """The rows with these numbers, padded on the right to the longest.

    The label of a position is the next id of its sample, or IGNORE where that one is padding or not
    learned. Samples of a row are numbered from 1 in `segments`; padding is 0.
    """
    shape = (len(numbers), max(rows.tokens(number) for number in numbers))
    ids = torch.zeros(shape, dtype=torch.long)
    labels = torch.full(shape, IGNORE, dtype=torch.long)
    positions, segments = torch.zeros_like(ids), torch.zeros_like(ids)
    for row, number in enumerate(numbers):
        place = 0
        for segment, index in enumerate(rows.samples(number), 1):
            sample = torch.tensor(rows.data.sample(index), dtype=torch.long)
            end, start = place + len(sample), rows.data.loss_starts[index]
            ids[row, place:end] = sample
            labels[row, place + start - 1:end - 1] = sample[start:]
            positions[row, place:end] = torch.arange(len(sample))
            segments[row, place:end] = segment
            place = end
    if not rows.packed:
        return Batch(ids.to(device), labels.to(device))
    return Batch(ids.to(device), labels.to(device), positions.to(device), segments.to(device))
