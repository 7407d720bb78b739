"""Stands in for MosaicML's `mcli` where a Composer trainer runs under the trainer contract.

Composer's MosaicMLLogger (composer 0.24, loggers/mosaicml_logger.py) reports by one function of that package,
`update_run_metadata`, from rank 0, every 60 s and when something ends. Here what it says becomes lines of the contract's
event file, so that such a trainer needs no change to be followed. An agent sets what turns the logger on:
MOSAICML_PLATFORM and MOSAICML_ACCESS_TOKEN_FILE.

What Composer never tells is where a checkpoint lies in a form that others can load; that is said by `saved_checkpoint`.
"""

from __future__ import annotations

import json
import os
import re
import sys
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Mapping

from trainer.events import EventWriter

_PREFIX = "mosaicml/"
_PLACE = re.compile(r"\[(token|batch|epoch)=(\d+)(?:/(\d+))?\]")
_LINKS = {"mlflow/run_url": "mlflow", "wandb/run_url": "wandb"}
# Composer's names of what the contract has a name for.
_METRICS = {"loss/train/total": "train/loss", "metrics/train/LanguageCrossEntropy": "train/loss",
            "metrics/eval/LanguageCrossEntropy": "eval/loss"}

_lock = threading.Lock()
_state: "_Reporter | None" = None


def update_run_metadata(run: object, metadata: Mapping[str, Any], future: bool = False, timeout: float | None = None,
                        protect: bool = False) -> Any:
    """As the original's, whose `run`, `timeout` and `protect` mean nothing here. Never raises: Composer would end the
    training, or stop reporting, for what a reader of its events alone misses."""
    try:
        with _lock:
            _reporter().tell({str(key).removeprefix(_PREFIX): value for key, value in metadata.items()})
    except (OSError, ValueError, TypeError) as error:
        print(f"mcli: what Composer says cannot be told: {error}", file=sys.stderr)
    if not future:
        return run
    done: Future[object] = Future()
    done.set_result(run)
    return done


def saved_checkpoint(path: str, step: int, tokens: int = 0, huggingface: str = "") -> None:
    """Tells of a complete checkpoint: a folder in FINETUNED_CHECKPOINT_DIR, which the agent publishes, and the folder
    beside it that `from_pretrained` loads. The last one of a training has to be at its last batch."""
    with _lock:
        _reporter().events.emit("checkpoint", path=path, step=step, tokens=tokens, huggingface=huggingface,
                                kind="training", complete=True)


class _Reporter:
    """Remembers what was told, because Composer says the same things again and again."""

    def __init__(self, events: EventWriter) -> None:
        self.events = events
        self._told: set[str] = set()
        self._links: dict[str, str] = {}

    def tell(self, said: dict[str, Any]) -> None:
        self._tell_links(said)
        if "checkpoint_resumed_path" in said:
            self._once("resumed", checkpoint=_checkpoint_name(said["checkpoint_resumed_path"]))
        if "model_initialized_time" in said:
            self._once("model_initialized", model=_model())
        progress = _progress(said)
        if progress:
            metrics = _numbers(said)
            evaluated = {name: metrics.pop(name) for name in list(metrics) if name.startswith("eval/")}
            self.events.emit("progress", **progress, metrics=metrics)
            if "eval/loss" in evaluated:
                self.events.emit("eval", step=progress.get("step", 0), when="checkpoint", metrics=evaluated)
        if "train_finished_time" in said:
            self._once("train_finished")

    def _tell_links(self, said: dict[str, Any]) -> None:
        # Composer writes `None` for a page that is not there.
        links = {name: said[key] for key, name in _LINKS.items() if str(said.get(key)).startswith("http")}
        if links and not links.items() <= self._links.items():
            self._links.update(links)
            self.events.emit("linked", links=self._links)

    def _once(self, type_: str, **fields: object) -> None:
        if type_ not in self._told:
            self._told.add(type_)
            self.events.emit(type_, **fields)


def _reporter() -> _Reporter:
    global _state
    if _state is None:
        path = os.environ.get("FINETUNED_EVENTS")
        if not path:
            raise ValueError("FINETUNED_EVENTS is not set")
        _state = _Reporter(EventWriter(Path(path)))
    return _state


def _progress(said: dict[str, Any]) -> dict[str, int]:
    """From `[epoch=1/2]` with `[batch=3/28]` beside it, `[batch=3/56]`, or `[token=1000/100000]`."""
    place: dict[str, tuple[int, int]] = {}
    for key in ("training_progress", "training_sub_progress"):
        for unit, done, all_ in _PLACE.findall(str(said.get(key, ""))):
            place[unit] = (int(done), int(all_ or 0))
    if "epoch" in place:
        (epoch, epochs), (batch, batches) = place["epoch"], place.get("batch", (0, 0))
        fields = {"epoch": epoch, "epochs": epochs, "batch": batch, "batches": batches}
        if batches:
            fields |= {"step": (epoch - 1) * batches + batch, "total_batches": epochs * batches}
        return fields
    if "token" in place:
        return {"tokens": place["token"][0], "max_tokens": place["token"][1]}
    if "batch" in place:
        batch, batches = place["batch"]
        return {"batch": batch, "batches": batches, "step": batch, "total_batches": batches}
    return {}


def _numbers(said: dict[str, Any]) -> dict[str, float]:
    numbers = {}
    for key, value in said.items():
        if isinstance(value, (int, float)) and not isinstance(value, bool) and not key.endswith("_time"):
            numbers[_METRICS.get(key, "lr" if key.startswith("lr-") else key)] = float(value)
    return numbers


def _checkpoint_name(path: object) -> str:
    """`ep1-ba50` of a path in or beneath its folder."""
    parts = [part for part in str(path).split("/") if re.fullmatch(r"ep\d+-ba\d+.*", part)]
    return parts[0] if parts else str(path).rsplit("/", 1)[-1]


def _model() -> str:
    try:
        spec = json.loads(Path(os.environ.get("FINETUNED_SPEC", "")).read_bytes())
    except (OSError, ValueError):
        return ""
    return str(spec.get("model", "")) if isinstance(spec, dict) else ""
