"""The network of a run, what of it is learned, and how one batch changes it."""

from __future__ import annotations

import torch
from torch import Tensor

from trainer import lora, optimizers, weights
from trainer.batches import Batch, collate
from trainer.device import Device
from trainer.llama import Llama, loss_sum
from trainer.recipe import Recipe
from trainer.rows import Rows
from trainer.schedule import learning_rate_at


class Learner:
    def __init__(self, model: Llama, recipe: Recipe, peak: float, device: Device) -> None:
        self.recipe = recipe
        self.device = device
        self._peak = peak
        # Adapters mean nothing without the weights beside which they were learned.
        self.base_digest = weights.digest(model) if recipe.lora else ""
        if recipe.lora:
            lora.attach(model, recipe.lora, recipe.seed)
        self.model = model.to(device.torch)
        self.learned = {name: parameter for name, parameter in model.named_parameters()
                        if parameter.requires_grad}
        self.optimizer = optimizers.make(self.learned, recipe, peak)

    def rate(self, step: int, total: int) -> float:
        """The learning rate of the batch after `step` completed ones."""
        return learning_rate_at(step, total, self._peak, self.recipe)

    def learn(self, rows: Rows, numbers: list[int], rate: float, update: int) -> float:
        """Trains on these rows as one batch; `update` counts from 1. Returns the loss before.

        The loss is the mean over the batch's learned tokens, however it is cut into micro batches.
        """
        self.model.train()
        size = self.recipe.micro_batch_size
        batches = [collate(rows, numbers[start:start + size], self.device.torch)
                   for start in range(0, len(numbers), size)]
        learned = sum(batch.learned_tokens() for batch in batches)
        total = 0.0
        for batch in batches:
            loss = self.loss_sum(batch) / learned
            loss.backward()
            total += loss.item()
        self.optimizer.step(rate, update)
        return total

    def loss_sum(self, batch: Batch) -> Tensor:
        with self.device.autocast():
            logits = self.model(batch.ids, batch.positions, batch.segments)
        return loss_sum(logits, batch.labels)

    def next_logits(self, ids: list[int]) -> Tensor:
        """What comes after `ids`: float32, on the CPU."""
        with self.device.autocast():
            logits = self.model(torch.tensor([ids], device=self.device.torch))
        return logits[0, -1].float().cpu()
