"""The resolved specification of a run: the proto3 JSON of `RunSpec` that FINETUNED_SPEC names.

proto3 JSON writes lowerCamelCase or, with original names kept, snake_case, and 64-bit integers as
strings; both are accepted, and unknown keys are ignored so that an older trainer can serve a newer
control plane. Defaults are those of the public API: 1 epoch, learning rate 5e-7, the model's own
context length, a checkpoint after each epoch.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path

from trainer import durations, recipe
from trainer.durations import Duration
from trainer.errors import TrainerError

CHAT_COMPLETION = "CHAT_COMPLETION"
INSTRUCTION_FINETUNE = "INSTRUCTION_FINETUNE"
CONTINUED_PRETRAIN = "CONTINUED_PRETRAIN"
TASK_TYPES = (CHAT_COMPLETION, INSTRUCTION_FINETUNE, CONTINUED_PRETRAIN)

DEFAULT_LEARNING_RATE = 5e-7


@dataclass(frozen=True)
class RunSpec:
    """What the trainer uses of a run's specification.

    `context_length` is None for the model's own. `save_num_to_keep` is not here: the agent keeps
    and removes published checkpoints.
    """

    model: str
    train_data_path: str
    task_type: str = CHAT_COMPLETION
    eval_data_path: str | None = None
    eval_prompts: tuple[str, ...] = ()
    custom_weights_path: str | None = None
    training_duration: Duration = Duration(1, durations.EPOCH)
    learning_rate: float = DEFAULT_LEARNING_RATE
    context_length: int | None = None
    save_interval: Duration = Duration(1, durations.EPOCH)
    recipe: recipe.Recipe = recipe.Recipe()


def load(path: Path) -> RunSpec:
    try:
        return parse(json.loads(path.read_bytes()))
    except (OSError, ValueError) as error:
        raise TrainerError("INVALID_SPEC", f"Cannot read the run's specification {path}: {error}")


def parse(document: object) -> RunSpec:
    """Builds a RunSpec from decoded JSON; an absent, null or empty value takes its default."""
    if not isinstance(document, dict):
        raise _invalid("the specification", "must be a JSON object")
    given = {key: value for key, value in _snake_keys(document).items()
             if value is not None and value != ""}
    task_type = given.get("task_type", CHAT_COMPLETION)
    if task_type == "TASK_TYPE_UNSPECIFIED":
        task_type = CHAT_COMPLETION
    if task_type not in TASK_TYPES:
        raise _invalid("task_type", f"Invalid task_type: {task_type}, currently supported options "
                       f"are: {', '.join(TASK_TYPES)}")
    return RunSpec(
        model=_string(given, "model"),
        train_data_path=_string(given, "train_data_path"),
        task_type=task_type,
        eval_data_path=_string(given, "eval_data_path", required=False),
        eval_prompts=_strings(given.get("eval_prompts", [])),
        custom_weights_path=_string(given, "custom_weights_path", required=False),
        training_duration=durations.parse(given.get("training_duration", "1ep"),
                                          "training_duration"),
        learning_rate=_learning_rate(given.get("learning_rate", DEFAULT_LEARNING_RATE)),
        context_length=_context_length(given.get("context_length")),
        save_interval=durations.parse(given.get("save_interval", "1ep"), "save_interval"),
        recipe=recipe.parse(given.get("recipe")))


def _snake_keys(value: object) -> object:
    """The document with snake_case keys, also in the messages within it."""
    if isinstance(value, dict):
        return {_snake(key): _snake_keys(item) for key, item in value.items()}
    return value


def _snake(key: str) -> str:
    return re.sub(r"[A-Z]", lambda match: "_" + match[0].lower(), key)


def _invalid(field: str, message: str) -> TrainerError:
    return TrainerError("INVALID_SPEC", f"{field}: {message}", field=field)


def _string(given: dict, field: str, required: bool = True) -> str | None:
    value = given.get(field)
    if value is None and not required:
        return None
    if not isinstance(value, str):
        raise _invalid(field, "is required" if value is None else "must be a string")
    return value


def _strings(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise _invalid("eval_prompts", "must be a list of strings")
    return tuple(value)


def _learning_rate(value: object) -> float:
    try:
        rate = float(value) if not isinstance(value, bool) else math.nan
    except (TypeError, ValueError):
        rate = math.nan
    if rate == 0.0:  # proto3 JSON with default values printed: unset
        return DEFAULT_LEARNING_RATE
    if not 0.0 < rate <= 1.0:  # also refuses nan
        raise _invalid("learning_rate", f"must be a number above 0 and at most 1, not {value!r}")
    return rate


def _context_length(value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not re.fullmatch(r"[0-9]{1,9}", str(value), re.ASCII):
        raise _invalid("context_length", f"must be a whole number of tokens, not {value!r}")
    if int(value) == 0:  # proto3 JSON with default values printed: unset
        return None
    if int(value) < 8:
        raise _invalid("context_length", f"must be at least 8 tokens, not {value}")
    return int(value)
