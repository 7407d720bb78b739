"""How the weights are trained: the message `Recipe` of a run's specification.

Defaults are the recipe that the documentation of the Databricks fine-tuning API gives, and where it
is silent (batch size, precision) the ones that run.proto states.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Mapping

from trainer.errors import TrainerError

LINEAR, COSINE, CONSTANT = "LINEAR", "COSINE", "CONSTANT"
DECOUPLED_LION, ADAMW = "DECOUPLED_LION", "ADAMW"
AUTO, FLOAT32, BFLOAT16 = "AUTO", "FLOAT32", "BFLOAT16"

# The matrices of a decoder layer, by the names that Hugging Face's Llama gives them.
LORA_TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class Lora:
    """Low-rank adapters beside frozen weights: W x + alpha / rank * B A x."""

    rank: int = 16
    alpha: float = 32.0
    dropout: float = 0.0
    target_modules: tuple[str, ...] = LORA_TARGETS


@dataclass(frozen=True)
class Recipe:
    """`micro_batch_size` samples go through the network at a time; a batch is one update."""

    batch_size: int = 8
    micro_batch_size: int = 8
    schedule: str = LINEAR
    warm_up_fraction: float = 0.02
    optimizer: str = DECOUPLED_LION
    weight_decay: float = 0.0
    max_gradient_norm: float = 1.0  # 0: gradients are not clipped
    precision: str = AUTO
    packing: bool = False
    lora: Lora | None = None
    seed: int = 17


def parse(given: object) -> Recipe:
    """Builds a Recipe from decoded JSON with snake_case keys; an absent value takes its default."""
    read = _Reader("recipe", given)
    default = Recipe()
    batch_size = read.whole("batch_size", default.batch_size, 1, 4096)
    micro = read.whole("micro_batch_size", batch_size, 1, 4096)
    if micro > batch_size:
        raise _invalid("recipe.micro_batch_size", f"{micro} is more than the batch_size {batch_size}")
    return Recipe(
        batch_size=batch_size, micro_batch_size=micro,
        schedule=read.choice("schedule", (LINEAR, COSINE, CONSTANT)),
        warm_up_fraction=read.number("warm_up_fraction", default.warm_up_fraction, 0.0, 1.0),
        optimizer=read.choice("optimizer", (DECOUPLED_LION, ADAMW)),
        weight_decay=read.number("weight_decay", default.weight_decay, 0.0, 1.0),
        max_gradient_norm=read.number("max_gradient_norm", default.max_gradient_norm, 0.0, 1e6),
        precision=read.choice("precision", (AUTO, FLOAT32, BFLOAT16)),
        packing=read.flag("packing"),
        lora=_lora(read.given["lora"]) if read.given.get("lora") is not None else None,
        seed=read.whole("seed", default.seed, 1, 2**31 - 1))


def _lora(given: object) -> Lora:
    read = _Reader("recipe.lora", given)
    rank = read.whole("rank", Lora.rank, 1, 1024)
    targets = read.given.get("target_modules") or list(LORA_TARGETS)
    if not isinstance(targets, list) or not all(target in LORA_TARGETS for target in targets):
        raise _invalid("recipe.lora.target_modules", "must be some of " + ", ".join(LORA_TARGETS))
    return Lora(
        rank=rank, alpha=read.number("alpha", 2.0 * rank, 0.0, 1e6) or 2.0 * rank,
        dropout=read.number("dropout", 0.0, 0.0, 0.99),
        target_modules=tuple(name for name in LORA_TARGETS if name in targets))


class _Reader:
    """Takes the values of one message, each checked against its range."""

    def __init__(self, name: str, given: object) -> None:
        if given is None:
            given = {}
        if not isinstance(given, Mapping):
            raise _invalid(name, "must be an object")
        self._name = name
        self.given = given

    def whole(self, key: str, default: int, least: int, most: int) -> int:
        """0 is proto3's unset."""
        value = self._number(key)
        if value is None or value == 0:
            return default
        if value != int(value) or not least <= value <= most:
            raise _invalid(f"{self._name}.{key}", f"must be a whole number from {least} to {most}, not {value!r}")
        return int(value)

    def number(self, key: str, default: float, least: float, most: float) -> float:
        value = self._number(key)
        if value is None:
            return default
        if not least <= value <= most:
            raise _invalid(f"{self._name}.{key}", f"must be from {least} to {most}, not {value!r}")
        return value

    def choice(self, key: str, names: tuple[str, ...]) -> str:
        value = self.given.get(key)
        if value is None or str(value).endswith("_UNSPECIFIED"):
            return names[0]
        if value not in names:
            raise _invalid(f"{self._name}.{key}", f"must be one of {', '.join(names)}, not {value!r}")
        return str(value)

    def flag(self, key: str) -> bool:
        value = self.given.get(key, False)
        if not isinstance(value, bool):
            raise _invalid(f"{self._name}.{key}", f"must be true or false, not {value!r}")
        return value

    def _number(self, key: str) -> float | None:
        value = self.given.get(key)
        if value is None:
            return None
        try:
            number = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            raise _invalid(f"{self._name}.{key}", f"must be a number, not {value!r}")
        return number


def _invalid(field: str, message: str) -> TrainerError:
    return TrainerError("INVALID_SPEC", f"{field}: {message}", field=field)
