"""The loss on evaluation data, and what the model answers to the evaluation prompts."""

from __future__ import annotations

import math
from typing import Callable

import torch

from trainer.batches import BATCH_SIZE, collate
from trainer.data import Dataset
from trainer.llama import IGNORE, Llama, loss_sum
from trainer.tokenizer import ModelTokenizer

# How evaluation prompts are answered: the settings that the fine-tuning API documents for
# `eval_prompts`.
MAX_NEW_TOKENS = 100
TEMPERATURE = 1.0
TOP_K = 50
TOP_P = 0.95


@torch.no_grad()
def evaluate(model: Llama, data: Dataset, check_stop: Callable[[], None]) -> dict[str, float]:
    """The mean loss per learned token, and its exponential."""
    total, count = 0.0, 0
    for start in range(0, len(data), BATCH_SIZE):
        check_stop()
        ids, labels = collate(data, list(range(start, min(start + BATCH_SIZE, len(data)))))
        total += loss_sum(model(ids), labels).item()
        count += int((labels != IGNORE).sum())
    loss = total / count
    perplexity = math.exp(loss) if loss < 700 else math.inf
    return {"eval/loss": loss, "eval/perplexity": perplexity}


@torch.no_grad()
def answer(model: Llama, tokenizer: ModelTokenizer, prompt: str, seed: int,
           context_length: int, check_stop: Callable[[], None]) -> str:
    """A sampled continuation of `prompt`; the same seed and weights give the same text."""
    generator = torch.Generator().manual_seed(seed)
    ids = tokenizer.prefix + tokenizer.encode(prompt)
    new: list[int] = []
    while len(new) < MAX_NEW_TOKENS:
        check_stop()
        window = (ids + new)[-context_length:] or [0]
        logits = model(torch.tensor([window]))[0, -1] / TEMPERATURE
        token = _sample(logits, generator)
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
