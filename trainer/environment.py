"""The environment of trainer contract v1: where a run is described and where it may write.

Importing this module must stay cheap and free of torch: the number of threads has to be settled
before torch is loaded.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Mapping

from trainer.errors import EXIT_CONFIG, EXIT_USAGE, TrainerError

CONTRACT_VERSION = "1"
PACKAGED_MODELS = Path(__file__).resolve().parent / "models"

_REQUIRED = ("FINETUNED_SPEC", "FINETUNED_EVENTS", "FINETUNED_CHECKPOINT_DIR")


@dataclass(frozen=True)
class Environment:
    """The variables a trainer reads. `control`, `resume_from` and `error_file` may be None.

    `hub` says whether models and data may be fetched from a Hugging Face hub.
    """

    spec: Path
    events: Path
    checkpoint_dir: Path
    control: Path | None
    resume_from: Path | None
    error_file: Path | None
    model_roots: tuple[Path, ...]
    threads: int
    hub: bool
    # How long it may say nothing before it is taken to hang; None for not told.
    stall_seconds: int | None

    @classmethod
    def from_variables(cls, variables: Mapping[str, str]) -> "Environment":
        version = variables.get("FINETUNED_CONTRACT", "")
        if version != CONTRACT_VERSION:
            raise TrainerError(
                "UNSUPPORTED_CONTRACT",
                f"This trainer speaks trainer contract {CONTRACT_VERSION}, but FINETUNED_CONTRACT "
                f"is {version!r}. Use a trainer and an agent of matching versions.",
                exit_status=EXIT_CONFIG)
        missing = [name for name in _REQUIRED if not variables.get(name)]
        if missing:
            raise TrainerError(
                "MISSING_ENVIRONMENT",
                f"{', '.join(missing)} not set. The agent sets them; trainer/README.md shows how "
                "to set them by hand.", exit_status=EXIT_USAGE)
        roots = [part for part in variables.get("FINETUNED_MODEL_ROOTS", "").split(":") if part]
        return cls(
            spec=Path(variables["FINETUNED_SPEC"]),
            events=Path(variables["FINETUNED_EVENTS"]),
            checkpoint_dir=Path(variables["FINETUNED_CHECKPOINT_DIR"]),
            control=_path(variables.get("FINETUNED_CONTROL")),
            resume_from=_path(variables.get("FINETUNED_RESUME_FROM")),
            error_file=_path(variables.get("FINETUNED_ERROR_FILE")),
            model_roots=tuple(Path(root) for root in roots) or (PACKAGED_MODELS,),
            threads=_threads(variables.get("FINETUNED_THREADS")),
            hub=_flag("FINETUNED_HUB", variables.get("FINETUNED_HUB")),
            stall_seconds=_stall_seconds(variables.get("FINETUNED_STALL_SECONDS")))


def _path(value: str | None) -> Path | None:
    return Path(value) if value else None


def _flag(name: str, value: str | None) -> bool:
    if value not in (None, "", "0", "1"):
        raise TrainerError("INVALID_ENVIRONMENT", f"{name} must be 0 or 1, not {value!r}.", exit_status=EXIT_USAGE)
    return value == "1"


def _stall_seconds(value: str | None) -> int | None:
    if not value:
        return None
    if not value.isascii() or not value.isdigit() or int(value) < 1:
        raise TrainerError("INVALID_ENVIRONMENT",
                           f"FINETUNED_STALL_SECONDS must be a number of seconds, not {value!r}.",
                           exit_status=EXIT_USAGE)
    return int(value)


def _threads(value: str | None) -> int:
    """FINETUNED_THREADS, or as many as this process may use CPUs."""
    if not value:
        return len(os.sched_getaffinity(0))
    if not value.isascii() or not value.isdigit() or not 1 <= int(value) <= 1024:
        raise TrainerError("INVALID_ENVIRONMENT",
                           f"FINETUNED_THREADS must be a number from 1 to 1024, not {value!r}.",
                           exit_status=EXIT_USAGE)
    return int(value)
