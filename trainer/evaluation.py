"""The loss on evaluation data, and what the model answers to the evaluation prompts."""

from __future__ import annotations

import math
from typing import Callable

import torch

from trainer.batches import collate
from trainer.learner import Learner
from trainer.rows import Rows
from trainer.tokenizer import ModelTokenizer

# How evaluation prompts are answered: the settings that the fine-tuning API documents for
# `eval_prompts`.
MAX_NEW_TOKENS = 100
TEMPERATURE = 1.0
TOP_K = 50
TOP_P = 0.95


@torch.no_grad()
def evaluate(learner: Learner, rows: Rows, check_stop: Callable[[], None]) -> dict[str, float]:
    """The mean loss per learned token, and its exponential."""
    learner.model.eval()
    total, count, size = 0.0, 0, learner.recipe.micro_batch_size
    for start in range(0, len(rows), size):
        check_stop()
        numbers = list(range(start, min(start + size, len(rows))))
        batch = collate(rows, numbers, learner.device.torch)
        total += learner.loss_sum(batch).item()
        count += batch.learned_tokens()
    loss = total / count
    perplexity = math.exp(loss) if loss < 700 else math.inf
    return {"eval/loss": loss, "eval/perplexity": perplexity}


@torch.no_grad()
def answer(learner: Learner, tokenizer: ModelTokenizer, prompt: str, seed: int,
           context_length: int, check_stop: Callable[[], None]) -> str:
    """A sampled continuation of `prompt`; the same seed and weights give the same text."""
    learner.model.eval()
    generator = torch.Generator().manual_seed(seed)
    ids = tokenizer.prefix + tokenizer.encode(prompt)
    new: list[int] = []
    while len(new) < MAX_NEW_TOKENS:
        check_stop()
        window = (ids + new)[-context_length:] or [0]
        token = _sample(learner.next_logits(window) / TEMPERATURE, generator)
        if token == tokenizer.eos_id:
            break
        new.append(token)
    return tokenizer.decode(new)


def _sample(logits: torch.Tensor, generator: torch.Generator) -> int:
    values, tokens = logits.topk(min(TOP_K, len(logits)))
    chances = torch.softmax(values, dim=-1)
    before = chances.cumsum(-1) - chances  # the mass of all likelier tokens: 0 for the first
    chances[before >= TOP_P] = 0.0
    return int(tokens[torch.multinomial(chances, 1, generator=generator)])
