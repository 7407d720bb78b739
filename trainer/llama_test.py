from __future__ import annotations

import math
import unittest

import torch
from torch import Tensor

from trainer import llama

LENGTH = 2 * llama._BLOCK + 7


def plain(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    return torch.softmax(q @ k.transpose(2, 3) / math.sqrt(q.shape[-1]) + mask, dim=-1) @ v


class AttentionTest(unittest.TestCase):
    """In blocks it is what it is at once, and so is what is learned from it."""

    def check(self, segments: Tensor | None) -> None:
        torch.manual_seed(5)
        mask = llama._causal_mask(torch.zeros(2, LENGTH), segments)
        wanted = torch.randn(2, 3, LENGTH, 8)
        outcomes = []
        torch.manual_seed(6)
        inputs = [torch.randn(2, 3, LENGTH, 8, requires_grad=True) for _ in range(3)]
        for attend in (plain, llama._attend):
            out = attend(*inputs, mask)
            outcomes.append([out, *torch.autograd.grad(out, inputs, wanted)])
        for expected, found in zip(*outcomes):
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)

    def test_of_whole_rows(self) -> None:
        self.check(None)

    def test_of_packed_rows(self) -> None:
        self.check(torch.arange(LENGTH).expand(2, -1) // 50)


if __name__ == "__main__":
    unittest.main()
