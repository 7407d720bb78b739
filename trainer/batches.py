"""Which samples make up which batch, and how many batches a run has.

Everything here is a function of the data and the specification alone: an attempt that resumes at
batch n sees exactly the batches that an uninterrupted one would have seen from there on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterator

import torch
from torch import Tensor

from trainer import durations
from trainer.data import Dataset
from trainer.durations import Duration
from trainer.llama import IGNORE

# The public API has no batch size, so it is one constant: small enough for a CPU and for short
# data sets (the smallest allowed one is one batch), large enough for Lion's sign updates, which
# suffer from noisy gradients.
BATCH_SIZE = 8
_ORDER_SEED = 17


@dataclass(frozen=True)
class Position:
    """How far a run has come: whole epochs, global batches and tokens, all of them completed."""

    epoch: int = 0
    step: int = 0
    tokens: int = 0


class BatchPlan:
    """The run's batches. The last batch of an epoch may be smaller: no sample is left out."""

    def __init__(self, data: Dataset, duration: Duration) -> None:
        self._data = data
        self.per_epoch = -(-len(data) // BATCH_SIZE)
        self.tokens_per_epoch = len(data.ids)
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
        """The sample numbers of the epoch (counted from 0), shuffled."""
        generator = torch.Generator().manual_seed(_ORDER_SEED + epoch)
        return torch.randperm(len(self._data), generator=generator).tolist()

    def from_step(self, step: int) -> Iterator[list[int]]:
        """The sample numbers of each batch from global batch `step` to the end."""
        order: list[int] = []
        for number in range(step, self.total):
            epoch, batch = divmod(number, self.per_epoch)
            if batch == 0 or number == step:
                order = self.order(epoch)
            yield order[batch * BATCH_SIZE:(batch + 1) * BATCH_SIZE]

    def after(self, position: Position, batch: list[int]) -> Position:
        """The position once `batch` is done, from the one before it."""
        step = position.step + 1
        return Position(step // self.per_epoch, step,
                        position.tokens + sum(self._data.length(index) for index in batch))

    def interval_ends(self, interval: Duration, before: Position, now: Position) -> bool:
        """Whether a save interval ended with the batch between two positions."""
        attribute = {durations.EPOCH: "epoch", durations.BATCH: "step",
                     durations.TOKEN: "tokens"}[interval.unit]
        return (getattr(now, attribute) // interval.value
                > getattr(before, attribute) // interval.value)

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
            samples = order[batches * BATCH_SIZE:(batches + 1) * BATCH_SIZE]
            left -= sum(self._data.length(index) for index in samples)
            batches += 1
        return epochs * self.per_epoch + batches


def collate(data: Dataset, samples: list[int]) -> tuple[Tensor, Tensor]:
    """Ids and labels (batch, length), padded on the right to the longest sample.

    The label of a position is the next id, or IGNORE where that one is padding or not learned.
    """
    longest = max(data.length(index) for index in samples)
    ids = torch.zeros(len(samples), longest, dtype=torch.long)
    labels = torch.full((len(samples), longest), IGNORE, dtype=torch.long)
    for row, index in enumerate(samples):
        sample = torch.tensor(data.sample(index), dtype=torch.long)
        start = data.loss_starts[index]
        ids[row, :len(sample)] = sample
        labels[row, start - 1:len(sample) - 1] = sample[start:]
    return ids, labels
