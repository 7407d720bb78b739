"""The learning rate over a run: a linear warm-up, then the schedule's shape."""

from __future__ import annotations

import math

from trainer.recipe import CONSTANT, COSINE, Recipe


def learning_rate_at(step: int, total_steps: int, peak: float, recipe: Recipe = Recipe()) -> float:
    """The rate of global batch `step` (counted from 0) of `total_steps`.

    Step 0 gets the first share of the warm-up rather than 0, so that no batch is spent on nothing.
    LINEAR and COSINE reach 0 after the last step; CONSTANT stays at the peak.
    """
    warm_up = round(recipe.warm_up_fraction * total_steps)
    if recipe.warm_up_fraction > 0:
        warm_up = max(1, warm_up)
    if step < warm_up:
        return peak * (step + 1) / warm_up
    if recipe.schedule == CONSTANT:
        return peak
    left = (total_steps - step) / max(1, total_steps - warm_up)
    if recipe.schedule == COSINE:
        return peak * 0.5 * (1.0 + math.cos(math.pi * (1.0 - left)))
    return peak * left
