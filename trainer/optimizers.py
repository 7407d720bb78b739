"""The optimizers of a run. Each keeps its tensors under the names of the parameters they belong to.

Lion is Chen et al., "Symbolic Discovery of Optimization Algorithms" (2023), algorithm 2, with the
betas 0.90 and 0.95 that the documentation of the Databricks fine-tuning API gives. AdamW is
Loshchilov and Hutter, "Decoupled Weight Decay Regularization" (2019), algorithm 2. In both, weight
decay is decoupled as Composer's decoupled optimizers have it: it is scaled by the share of the peak
learning rate that a step has, and not by the rate itself.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trainer.loss_guard import diverged
from trainer.recipe import ADAMW, Recipe

LION_BETAS = (0.90, 0.95)
ADAMW_BETAS = (0.9, 0.95)
ADAMW_EPSILON = 1e-8


class Optimizer:
    """One update of the parameters that are trained. `tensors` is all of its state."""

    def __init__(self, parameters: dict[str, nn.Parameter], recipe: Recipe, peak: float,
                 kinds: tuple[str, ...]) -> None:
        self._parameters = parameters
        self._recipe = recipe
        self._peak = peak
        self.tensors = {f"{kind}.{name}": torch.zeros_like(p)
                        for kind in kinds for name, p in parameters.items()}

    @torch.no_grad()
    def step(self, learning_rate: float, number: int) -> None:
        """Clips the gradients, updates the parameters and forgets the gradients.

        `number` is the update's, counted from 1 over the whole run. Raises LOSS_SPIKE and updates nothing where
        a gradient is not finite: Lion would keep it for good, as a weight that no longer moves.
        """
        limit = self._recipe.max_gradient_norm
        norm = nn.utils.clip_grad_norm_(self._parameters.values(), limit if limit > 0 else float("inf"))
        if not torch.isfinite(norm):
            raise diverged("LOSS_SPIKE", f"The norm of the gradients is {norm.item()} at batch {number}.")
        decay = self._recipe.weight_decay * learning_rate / self._peak
        for name, parameter in self._parameters.items():
            if parameter.grad is None:
                continue
            if decay:
                parameter.mul_(1.0 - decay)
            self._update(name, parameter, learning_rate, number)
            parameter.grad = None

    def load(self, tensors: dict[str, Tensor]) -> None:
        for name, tensor in self.tensors.items():
            tensor.copy_(tensors[name])

    def _update(self, name: str, parameter: nn.Parameter, learning_rate: float,
                number: int) -> None:
        raise NotImplementedError


class Lion(Optimizer):
    def __init__(self, parameters: dict[str, nn.Parameter], recipe: Recipe, peak: float) -> None:
        super().__init__(parameters, recipe, peak, ("momentum",))

    def _update(self, name: str, parameter: nn.Parameter, learning_rate: float,
                number: int) -> None:
        momentum = self.tensors["momentum." + name]
        direction = torch.lerp(parameter.grad, momentum, LION_BETAS[0]).sign_()
        parameter.add_(direction, alpha=-learning_rate)
        momentum.lerp_(parameter.grad, 1.0 - LION_BETAS[1])


class AdamW(Optimizer):
    def __init__(self, parameters: dict[str, nn.Parameter], recipe: Recipe, peak: float) -> None:
        super().__init__(parameters, recipe, peak, ("mean", "square"))

    def _update(self, name: str, parameter: nn.Parameter, learning_rate: float,
                number: int) -> None:
        mean, square = self.tensors["mean." + name], self.tensors["square." + name]
        mean.lerp_(parameter.grad, 1.0 - ADAMW_BETAS[0])
        square.mul_(ADAMW_BETAS[1]).addcmul_(parameter.grad, parameter.grad,
                                             value=1.0 - ADAMW_BETAS[1])
        corrected = (square / (1.0 - ADAMW_BETAS[1] ** number)).sqrt_().add_(ADAMW_EPSILON)
        parameter.addcdiv_(mean, corrected, value=-learning_rate / (1.0 - ADAMW_BETAS[0] ** number))


def make(parameters: dict[str, nn.Parameter], recipe: Recipe, peak: float) -> Optimizer:
    kind = AdamW if recipe.optimizer == ADAMW else Lion
    return kind(parameters, recipe, peak)
