"""Ends a run whose loss has gone wrong, so that it does not burn the rest of its time.

The rules and numbers are those of llm-foundry's `KillLossSpike` callback
(`llmfoundry/callbacks/kill_loss_spike_callback.py`), which the replaced service reported as "loss
spike": they begin after a window of max(100, 1/20 of all) batches. Too many batches in a row above
twice the window's mean are a spike; and from two windows on, half of a window above the loss that
the run began with (10 at most) means that it learns nothing.
"""

from __future__ import annotations

import math
from collections import deque

from trainer.errors import EXIT_DATA, TrainerError

MULTIPLIER = 2.0
PATIENCE = 4
MIN_WINDOW = 100
MAX_WINDOW = 10_000  # of a very long run: what a checkpoint carries along
WINDOW_SHARE = 1 / 20
MAX_LOSS_CAP = 10.0
HIGH_SHARE = 0.5

_ADVICE = "Please try submitting the run again with a lower learning rate."


class LossGuard:
    """Sees the loss of every batch. `state` goes into checkpoints, so that a resumed run agrees."""

    def __init__(self, total_batches: int) -> None:
        size = min(max(MIN_WINDOW, round(total_batches * WINDOW_SHARE)), MAX_WINDOW)
        self._losses: deque[float] = deque(maxlen=size)
        self._outliers = 0
        self._cap: float | None = None

    def see(self, loss: float, batch: int) -> None:
        """Raises LOSS_SPIKE or HIGH_LOSS; `batch` is counted from 1 over the whole run."""
        if not math.isfinite(loss):
            raise diverged("LOSS_SPIKE", f"The training loss is {loss} at batch {batch}.")
        size = self._losses.maxlen
        if len(self._losses) == size:
            if self._cap is None:
                self._cap = min(max(self._losses), MAX_LOSS_CAP)
            mean = sum(self._losses) / size
            self._outliers = self._outliers + 1 if loss >= MULTIPLIER * mean else 0
            if self._outliers > PATIENCE:
                raise diverged("LOSS_SPIKE", f"The training loss was {self._outliers} batches in a "
                             f"row at least {MULTIPLIER:g} times its mean of {mean:.4g}; it is "
                             f"{loss:.4g} at batch {batch}.")
            high = sum(seen > self._cap for seen in self._losses)
            if batch >= 2 * size and high >= HIGH_SHARE * size:
                raise diverged("HIGH_LOSS", f"The training loss was above {self._cap:.4g} in {high} "
                             f"of the {size} batches before batch {batch}.")
        self._losses.append(loss)

    def state(self) -> dict:
        return {"losses": list(self._losses), "outliers": self._outliers, "cap": self._cap}

    def load(self, state: dict) -> None:
        self._losses.extend(float(loss) for loss in state["losses"])
        self._outliers = int(state["outliers"])
        self._cap = None if state["cap"] is None else float(state["cap"])


def diverged(code: str, what: str) -> TrainerError:
    """The end of a run that no longer learns: LOSS_SPIKE or HIGH_LOSS."""
    kind = "a loss spike" if code == "LOSS_SPIKE" else "consistently high losses"
    return TrainerError(code, f"Training stopped due to {kind}. {what} {_ADVICE}",
                        exit_status=EXIT_DATA)
