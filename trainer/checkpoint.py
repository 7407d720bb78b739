"""Checkpoints on disk.

One save makes two folders under FINETUNED_CHECKPOINT_DIR:

    ep<n>-ba<m>/        model.safetensors, config.json, tokenizer files,
                        optimizer.safetensors, trainer_state.json
    huggingface/ba<m>/  model.safetensors, config.json, tokenizer files

n and m count completed epochs and batches of the whole run, as Composer names its checkpoints. Each
folder can be loaded on its own. With LoRA the first holds `adapter_model.safetensors` and
`adapter_config.json` in place of the model, as PEFT does, and the second the merged weights. Without
it the weights are written once and hard-linked.

A folder is written under a temporary name, synced, and renamed: one with its final name is complete.
The agent may move it away as soon as the `checkpoint` event is out. Nothing is pickled, because
unpickling runs code.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, Mapping, Union

import torch
from torch import Tensor

from trainer import lora, tokenizer, weights
from trainer.batches import Position
from trainer.catalogue import BaseModel
from trainer.errors import EXIT_CONFIG, EXIT_INTERNAL, INTERNAL, TrainerError
from trainer.hub import is_commit
from trainer.learner import Learner
from trainer.loss_guard import LossGuard

OPTIMIZER = "optimizer.safetensors"
STATE = "trainer_state.json"
_STATE_VERSION = 1
_TEMPORARY = ".writing-"
# What a folder holds: bytes, or the tensors of a safetensors file.
Files = Dict[str, Union[bytes, Dict[str, Tensor]]]


@dataclass(frozen=True)
class Identity:
    """What must be equal for a run to go on from a checkpoint exactly where it stopped.

    `hub_revisions` is equal because the attempt that goes on begins with it: see `hub.Hub.revisions`.
    """

    spec_digest: str
    data_fingerprint: str
    base_digest: str = ""  # with LoRA: of the weights beside the adapters
    hub_revisions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Saved:
    name: str  # ep<n>-ba<m>
    huggingface: str  # huggingface/ba<m>


class CheckpointWriter:
    """Writes the checkpoints of one attempt into `folder`; `custom_weights` is what it began with, if not the model."""

    def __init__(self, folder: Path, base: BaseModel, identity: Identity, custom_weights: Path | None = None) -> None:
        self._folder = folder
        self._base = base
        self._beside = ((base.name, base.revision) if custom_weights is None else (str(custom_weights), None))
        self._identity = identity
        for stale in (*folder.glob(_TEMPORARY + "*"), *folder.glob(f"huggingface/{_TEMPORARY}*")):
            shutil.rmtree(stale)

    def save(self, learner: Learner, guard: LossGuard, position: Position) -> Saved:
        """Returns once both folders and their names are on disk."""
        saved = Saved(f"ep{position.epoch}-ba{position.step}", f"huggingface/ba{position.step}")
        try:
            (self._folder / "huggingface").mkdir(parents=True, exist_ok=True)
            with torch.no_grad():
                exported = self._export(learner)
            full = self._adapters(learner, exported) if learner.recipe.lora else dict(exported)
            full[OPTIMIZER] = {**learner.optimizer.tensors, **learner.device.rng_states()}
            full[STATE] = self._state(position, guard)
            main = self._write(self._folder / saved.name, full, None)
            link = None if learner.recipe.lora else main / weights.SINGLE
            self._write(self._folder / saved.huggingface, exported, link)
        except OSError as error:
            raise TrainerError("CHECKPOINT_NOT_WRITTEN",
                               f"Cannot write checkpoint {saved.name}: {error}",
                               attribution=INTERNAL, exit_status=EXIT_INTERNAL) from error
        return saved

    def _export(self, learner: Learner) -> Files:
        """The files of a folder that Hugging Face's `from_pretrained` loads."""
        # Transformers 5 calls it dtype, and believes that where a config.json has both.
        config = {key: value for key, value in self._base.config_json.items() if key != "dtype"}
        config["torch_dtype"] = "float32"
        files: Files = {weights.SINGLE: lora.merged_weights(learner.model), "config.json": _json(config)}
        for name in (*tokenizer.FILES, "generation_config.json"):
            source = self._base.folder / name
            if source.is_file():
                files[name] = source.read_bytes()
        return files

    def _adapters(self, learner: Learner, exported: Files) -> Files:
        """The files of a folder that PEFT's `from_pretrained` loads, with the tokenizer's."""
        files = {name: exported[name] for name in tokenizer.FILES if name in exported}
        files[lora.WEIGHTS] = dict(lora.adapters(learner.model))
        files[lora.CONFIG] = _json(lora.config_json(learner.recipe.lora, *self._beside))
        return files

    def _state(self, position: Position, guard: LossGuard) -> bytes:
        return _json({"version": _STATE_VERSION, "epoch": position.epoch, "step": position.step,
                      "tokens": position.tokens, "spec_digest": self._identity.spec_digest,
                      "data_fingerprint": self._identity.data_fingerprint,
                      "base_digest": self._identity.base_digest, "loss_guard": guard.state(),
                      "hub_revisions": dict(self._identity.hub_revisions)})

    def _write(self, target: Path, files: Files, link: Path | None) -> Path:
        """Makes the folder `target`; `link` is an existing file to use for the weights."""
        temporary = target.with_name(_TEMPORARY + target.name)
        temporary.mkdir()
        for name, content in files.items():
            if name == weights.SINGLE and link is not None:
                os.link(link, temporary / name)
            else:
                _write_synced(temporary / name, content)
        _sync_folder(temporary)
        if target.exists():  # an earlier attempt in the same folder, killed before it reported
            shutil.rmtree(target)
        temporary.rename(target)
        _sync_folder(target.parent)
        return target


def resume(folder: Path, learner: Learner, guard: LossGuard, identity: Identity) -> Position:
    """Restores weights, optimizer and random numbers; returns where the run goes on.

    A checkpoint of something else is the user's affair; one that cannot be read is not.
    """
    state = _read_state(folder)
    try:
        position = Position(int(state["epoch"]), int(state["step"]), int(state["tokens"]))
        found = Identity(state["spec_digest"], state["data_fingerprint"],
                         state.get("base_digest", ""))
        if "loss_guard" in state:  # not in those of earlier trainers
            guard.load(state["loss_guard"])
    except (ValueError, KeyError, TypeError) as error:
        raise _unreadable(folder, error) from None
    if found.spec_digest != identity.spec_digest:
        raise _foreign(folder, "it belongs to a run with another specification")
    if found.data_fingerprint != identity.data_fingerprint:
        raise _foreign(folder, "the training data have changed since it was written. Start a new "
                       "run with this folder as custom_weights_path")
    if found.base_digest != identity.base_digest:
        raise _foreign(folder, "the base model's weights have changed since it was written, and "
                       "adapters mean nothing beside others")
    try:
        if learner.recipe.lora:
            _load_adapters(learner, folder)
        else:
            weights.load_model(learner.model, folder)
        tensors = weights.load_tensors(folder / OPTIMIZER)
        learner.optimizer.load(tensors)
        learner.device.set_rng_states(tensors)
    except TrainerError as error:
        raise _damaged(folder, error.message) from None
    except (KeyError, RuntimeError) as error:
        raise _damaged(folder, f"its tensors do not fit: {error!r}") from None
    return position


def hub_revisions(folder: Path) -> dict[str, str]:
    """What the checkpoint's run took from a hub, at which commits."""
    found = _read_state(folder).get("hub_revisions", {})  # not in those of earlier trainers
    if not isinstance(found, dict) or not all(is_commit(commit) for commit in found.values()):
        raise _unreadable(folder, ValueError("hub_revisions"))
    return found


def _read_state(folder: Path) -> dict:
    try:
        state = json.loads((folder / STATE).read_bytes())
        if state["version"] != _STATE_VERSION:
            raise ValueError(f"version {state['version']}")
        return state
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _unreadable(folder, error) from None


@torch.no_grad()
def _load_adapters(learner: Learner, folder: Path) -> None:
    found: dict[str, Tensor] = weights.load_tensors(folder / lora.WEIGHTS)
    for name, parameter in lora.adapters(learner.model).items():
        parameter.copy_(found[name])


def _foreign(folder: Path, why: str) -> TrainerError:
    return TrainerError("CANNOT_RESUME", f"Cannot resume from {folder}: {why}.",
                        exit_status=EXIT_CONFIG)


def _damaged(folder: Path, why: str) -> TrainerError:
    return TrainerError("CHECKPOINT_DAMAGED", f"Cannot resume from {folder}: {why}.",
                        attribution=INTERNAL, exit_status=EXIT_INTERNAL)


def _unreadable(folder: Path, error: Exception) -> TrainerError:
    return _damaged(folder, f"its {STATE} cannot be read: {error!r}")


def _json(document: dict) -> bytes:
    return (json.dumps(document, indent=2) + "\n").encode("utf-8")


def _write_synced(path: Path, content: bytes | dict[str, Tensor]) -> None:
    with open(path, "wb") as file:
        if isinstance(content, bytes):
            file.write(content)
        else:
            weights.write(file, content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
