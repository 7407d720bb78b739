"""The optimizer and the schedule of a run.

DecoupledLionW with betas 0.90 and 0.95 and no weight decay, a linear warm-up over 2 % of training
and a linear decay to 0: the recipe that the documentation of the Databricks fine-tuning API gives.
Lion is Chen et al., "Symbolic Discovery of Optimization Algorithms" (2023), algorithm 2.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

BETAS = (0.90, 0.95)
WARM_UP = 0.02
CLIP_NORM = 1.0


class Lion:
    """Keeps one momentum tensor per parameter, under the parameter's name."""

    def __init__(self, model: nn.Module) -> None:
        self._parameters = dict(model.named_parameters())
        self.momentum = {name: torch.zeros_like(p) for name, p in self._parameters.items()}

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """Clips the gradients to CLIP_NORM, updates the parameters and forgets the gradients."""
        nn.utils.clip_grad_norm_(self._parameters.values(), CLIP_NORM)
        for name, parameter in self._parameters.items():
            gradient, momentum = parameter.grad, self.momentum[name]
            if gradient is None:
                continue
            direction = torch.lerp(gradient, momentum, BETAS[0]).sign_()
            parameter.add_(direction, alpha=-learning_rate)
            momentum.lerp_(gradient, 1.0 - BETAS[1])
            parameter.grad = None

    def load(self, momentum: dict[str, Tensor]) -> None:
        for name, tensor in self.momentum.items():
            tensor.copy_(momentum[name])


def learning_rate_at(step: int, total_steps: int, peak: float) -> float:
    """The rate of global batch `step` (counted from 0) of `total_steps`.

    Step 0 gets the first share of the warm-up rather than 0, so that no batch is spent on nothing;
    the rate reaches 0 after the last step.
    """
    warm_up = max(1, round(WARM_UP * total_steps))
    if step < warm_up:
        return peak * (step + 1) / warm_up
    return peak * (total_steps - step) / (total_steps - warm_up)
