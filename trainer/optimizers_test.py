"""Each optimizer against another implementation of it."""

import unittest

import torch
from torch import nn

from trainer import optimizers
from trainer.errors import TrainerError
from trainer.recipe import ADAMW, Recipe

STEPS = 5
RATE = 0.01


def parameters():
    generator = torch.Generator().manual_seed(1)
    return {name: nn.Parameter(torch.randn(3, 2, generator=generator)) for name in ("a", "b")}


def gradients(step):
    generator = torch.Generator().manual_seed(100 + step)
    return {name: torch.randn(3, 2, generator=generator) for name in ("a", "b")}


def train(recipe, rates):
    mine = parameters()
    optimizer = optimizers.make(mine, recipe, RATE)
    for number, rate in enumerate(rates, 1):
        for name, gradient in gradients(number).items():
            mine[name].grad = gradient
        optimizer.step(rate, number)
    return mine, optimizer


class OptimizersTest(unittest.TestCase):
    def test_adamw_is_torchs(self):
        # torch multiplies the decay by the rate; here it is the share of the peak, which it is at.
        recipe = Recipe(optimizer=ADAMW, weight_decay=RATE * 0.1, max_gradient_norm=0)
        mine, _ = train(recipe, [RATE] * STEPS)
        theirs = parameters()
        reference = torch.optim.AdamW(theirs.values(), lr=RATE, betas=(0.9, 0.95), eps=1e-8,
                                      weight_decay=0.1)
        for number in range(1, STEPS + 1):
            for name, gradient in gradients(number).items():
                theirs[name].grad = gradient
            reference.step()
        for name in mine:
            torch.testing.assert_close(mine[name], theirs[name], atol=1e-6, rtol=1e-5)

    def test_lion_is_the_published_algorithm(self):
        recipe = Recipe(weight_decay=0.1, max_gradient_norm=0)
        rates = [RATE, RATE / 2, RATE / 4]
        mine, _ = train(recipe, rates)
        for name, weight in parameters().items():
            weight, momentum = weight.detach().clone(), torch.zeros(3, 2)
            for number, rate in enumerate(rates, 1):
                gradient = gradients(number)[name]
                weight -= 0.1 * (rate / RATE) * weight
                weight -= rate * torch.sign(0.9 * momentum + 0.1 * gradient)
                momentum = 0.95 * momentum + 0.05 * gradient
            torch.testing.assert_close(mine[name].detach(), weight)

    def test_clipping_bounds_the_norm_of_all_gradients_together(self):
        _, optimizer = train(Recipe(max_gradient_norm=0.5), [RATE])
        together = torch.cat([tensor.flatten() for tensor in optimizer.tensors.values()])
        self.assertAlmostEqual(float(together.norm()), 0.05 * 0.5, places=5)

    def test_a_gradient_that_is_not_finite_ends_the_run_and_changes_nothing(self):
        for limit in (0.0, 1.0):
            mine = parameters()
            optimizer = optimizers.make(mine, Recipe(max_gradient_norm=limit), RATE)
            for parameter in mine.values():
                parameter.grad = torch.full_like(parameter, float("inf"))
            with self.assertRaisesRegex(TrainerError, "loss spike. The norm of the gradients is (inf|nan) at batch 7"):
                optimizer.step(RATE, 7)
            for name, before in parameters().items():
                self.assertTrue(torch.equal(mine[name], before))
                self.assertFalse(optimizer.tensors["momentum." + name].any())

    def test_state_moves_to_another_optimizer(self):
        for name in ("ADAMW", "DECOUPLED_LION"):
            recipe = Recipe(optimizer=name)
            one, optimizer = train(recipe, [RATE] * STEPS)
            other = optimizers.make({key: nn.Parameter(p.detach().clone()) for key, p in one.items()},
                                    recipe, RATE)
            other.load({key: tensor.clone() for key, tensor in optimizer.tensors.items()})
            self.assertEqual(other.tensors.keys(), optimizer.tensors.keys())
            for key, tensor in optimizer.tensors.items():
                self.assertTrue(torch.equal(other.tensors[key], tensor))
