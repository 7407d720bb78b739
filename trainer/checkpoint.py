"""Checkpoints on disk.

One save makes two folders under FINETUNED_CHECKPOINT_DIR, each loadable on its own:

    ep<n>-ba<m>/        model.safetensors, config.json, tokenizer files,
                        optimizer.safetensors, trainer_state.json
    huggingface/ba<m>/  model.safetensors, config.json, tokenizer files

n and m count completed epochs and batches of the whole run, as Composer names its checkpoints. A
folder is written under a temporary name, synced, and renamed: one with its final name is complete.
The agent may move it away as soon as the `checkpoint` event is out. The weights are written once
and hard-linked into the second folder. Nothing is pickled, because unpickling runs code.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from trainer import tokenizer, weights
from trainer.batches import Position
from trainer.catalogue import BaseModel
from trainer.errors import EXIT_CONFIG, EXIT_INTERNAL, INTERNAL, TrainerError
from trainer.lion import Lion
from trainer.llama import Llama

OPTIMIZER = "optimizer.safetensors"
STATE = "trainer_state.json"
_STATE_VERSION = 1
_RNG = "rng.torch"
_MOMENTUM = "momentum."
_TEMPORARY = ".writing-"


@dataclass(frozen=True)
class Identity:
    """What must be equal for a run to go on from a checkpoint exactly where it stopped."""

    spec_digest: str
    data_fingerprint: str


@dataclass(frozen=True)
class Saved:
    name: str  # ep<n>-ba<m>
    huggingface: str  # huggingface/ba<m>


class CheckpointWriter:
    """Writes the checkpoints of one attempt into `folder`."""

    def __init__(self, folder: Path, base: BaseModel, identity: Identity) -> None:
        self._folder = folder
        self._base = base
        self._identity = identity
        for stale in (*folder.glob(_TEMPORARY + "*"), *folder.glob(f"huggingface/{_TEMPORARY}*")):
            shutil.rmtree(stale)

    def save(self, model: Llama, optimizer: Lion, position: Position) -> Saved:
        """Returns once both folders and their names are on disk."""
        saved = Saved(f"ep{position.epoch}-ba{position.step}", f"huggingface/ba{position.step}")
        try:
            (self._folder / "huggingface").mkdir(parents=True, exist_ok=True)
            exported = self._export(model)
            full = dict(exported)
            full[OPTIMIZER] = weights.encode(
                {**{_MOMENTUM + name: t for name, t in optimizer.momentum.items()},
                 _RNG: torch.get_rng_state()})
            full[STATE] = self._state(position)
            main = self._write(self._folder / saved.name, full, None)
            self._write(self._folder / saved.huggingface, exported, main / weights.SINGLE)
        except OSError as error:
            raise TrainerError("CHECKPOINT_NOT_WRITTEN",
                               f"Cannot write checkpoint {saved.name}: {error}",
                               attribution=INTERNAL, exit_status=EXIT_INTERNAL) from error
        return saved

    def _export(self, model: Llama) -> dict[str, bytes]:
        config = {**self._base.config_json, "torch_dtype": "float32"}
        files = {weights.SINGLE: weights.encode(dict(model.named_parameters())),
                 "config.json": _json(config)}
        for name in (*tokenizer.FILES, "generation_config.json"):
            source = self._base.folder / name
            if source.is_file():
                files[name] = source.read_bytes()
        return files

    def _state(self, position: Position) -> bytes:
        return _json({"version": _STATE_VERSION, "epoch": position.epoch, "step": position.step,
                      "tokens": position.tokens, "spec_digest": self._identity.spec_digest,
                      "data_fingerprint": self._identity.data_fingerprint})

    def _write(self, target: Path, files: dict[str, bytes], link: Path | None) -> Path:
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


def resume(folder: Path, model: Llama, optimizer: Lion, identity: Identity) -> Position:
    """Restores weights, optimizer and random numbers; returns where the run goes on.

    A checkpoint of something else is the user's affair; one that cannot be read is not.
    """
    try:
        state = json.loads((folder / STATE).read_bytes())
        if state["version"] != _STATE_VERSION:
            raise ValueError(f"version {state['version']}")
        position = Position(int(state["epoch"]), int(state["step"]), int(state["tokens"]))
        found = Identity(state["spec_digest"], state["data_fingerprint"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(folder, f"its {STATE} cannot be read: {error!r}") from None
    if found.spec_digest != identity.spec_digest:
        raise _foreign(folder, "it belongs to a run with another specification")
    if found.data_fingerprint != identity.data_fingerprint:
        raise _foreign(folder, "the training data have changed since it was written. Start a new "
                       "run with this folder as custom_weights_path")
    try:
        weights.load_model(model, folder)
        tensors = weights.load_tensors(folder / OPTIMIZER)
        optimizer.load(_momentum(tensors))
        torch.set_rng_state(tensors[_RNG])
    except TrainerError as error:
        raise _damaged(folder, error.message) from None
    except (KeyError, RuntimeError) as error:
        raise _damaged(folder, f"its {OPTIMIZER} does not fit: {error!r}") from None
    return position


def _momentum(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name[len(_MOMENTUM):]: tensor for name, tensor in tensors.items()
            if name.startswith(_MOMENTUM)}


def _foreign(folder: Path, why: str) -> TrainerError:
    return TrainerError("CANNOT_RESUME", f"Cannot resume from {folder}: {why}.",
                        exit_status=EXIT_CONFIG)


def _damaged(folder: Path, why: str) -> TrainerError:
    return TrainerError("CHECKPOINT_DAMAGED", f"Cannot resume from {folder}: {why}.",
                        attribution=INTERNAL, exit_status=EXIT_INTERNAL)


def _json(document: dict) -> bytes:
    return (json.dumps(document, indent=2) + "\n").encode("utf-8")


def _write_synced(path: Path, content: bytes) -> None:
    with open(path, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
