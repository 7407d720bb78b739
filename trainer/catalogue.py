"""Finding a model by its name, and custom weights by their path.

A model root holds models as `<org>/<name>/` in the Hugging Face layout. A folder may have a
`catalogue.json` beside it, which describes the model; for a model that is shipped without weights
its `init_seed` says how they are made. A model that no root has may come from a Hugging Face hub.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

from trainer import lora, weights
from trainer.errors import TrainerError
from trainer.hub import Hub
from trainer.hub_model import HubModel
from trainer.llama import Llama, LlamaConfig

LATEST = "latest-sharded-rank0.symlink"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)


@dataclass(frozen=True)
class BaseModel:
    """A model folder with its configuration read and found trainable.

    One from a hub has a `revision`, a commit, and its weights are not in the folder before `fetch_weights`.
    """

    name: str
    folder: Path
    config_json: dict
    config: LlamaConfig
    revision: str | None = None
    fetch_weights: Callable[[], None] = lambda: None

    def load(self, weights_folder: Path | None) -> Llama:
        """The network with weights from `weights_folder`, or else from the model itself."""
        model = Llama.empty(self.config)
        if weights_folder is not None:
            weights.load_model(model, weights_folder)
            return model
        self.fetch_weights()
        if weights.has_weights(self.folder):
            weights.load_model(model, self.folder)
        else:
            model.init_weights(self._init_seed())
        return model

    def _init_seed(self) -> int:
        path = self.folder / "catalogue.json"
        seed = _read_json(path).get("init_seed") if path.is_file() else None
        if not isinstance(seed, int):
            if any(file.suffix in weights.PICKLES for file in self.folder.iterdir()):
                raise TrainerError("PICKLED_WEIGHTS",
                                   f"{self.folder} has its weights only as pickles (*.bin, *.pt), which are never opened "
                                   "because loading one runs code. Save the model with safetensors.")
            raise TrainerError("MODEL_WITHOUT_WEIGHTS",
                               f"{self.folder} has no safetensors weights, and no catalogue.json "
                               "with an init_seed to make them from.")
        return seed


def find(name: str, roots: tuple[Path, ...], hub: Hub | None = None) -> BaseModel:
    """The first model folder called `name` in `roots`, or else the hub's model, where there may be one."""
    if _NAME.fullmatch(name):
        for root in roots:
            folder = root / name
            if (folder / "config.json").is_file():
                config = _read_json(folder / "config.json")
                return BaseModel(name, folder, config, LlamaConfig.from_json(name, config))
        if hub is not None:
            return _from_hub(name, hub)
    known = sorted({str(p.parent.relative_to(root)) for root in roots
                    for p in root.glob("*/*/config.json")})
    raise TrainerError("UNKNOWN_MODEL", f"There is no model {name!r} on this worker. "
                       f"Known models: {', '.join(known) or 'none'}. "
                       + ("A model of a hub is named {organisation}/{model}." if hub is not None else
                          "None is fetched from a hub here (FINETUNED_HUB is not 1)."), field="model")


def _from_hub(name: str, hub: Hub) -> BaseModel:
    """Weights come last: the configuration decides whether the model can be trained at all."""
    model = HubModel(hub, name)
    folder = model.fetch_config()
    config = _read_json(folder / "config.json")
    parsed = LlamaConfig.from_json(name, config)
    model.fetch_tokenizer()
    return BaseModel(name, folder, config, parsed, model.revision, model.fetch_weights)


def custom_weights(path: str) -> Path:
    """The folder with the weights that `custom_weights_path` means.

    A folder is taken as it is: a checkpoint `ep<n>-ba<m>` or an export `huggingface/ba<m>`; of a
    checkpoint that holds adapters only, the export beside it, in which they are merged. The file
    `latest-sharded-rank0.symlink` holds a path relative to the folder it lies in.
    """
    given = Path(path)
    folder = given
    if given.name == LATEST and given.is_file():
        target = given.read_text("utf-8").strip()
        parent = given.parent.resolve()
        folder = (parent / target).resolve()
        if not target or parent not in folder.parents:
            raise _no_weights(path, f"its content {target!r} does not name a folder beside it")
    elif given.is_file():
        raise _no_weights(path, f"it must be a checkpoint folder or the file {LATEST}")
    if not folder.is_dir():
        raise _no_weights(path, f"there is no folder {folder}")
    if (folder / lora.CONFIG).is_file() and not weights.has_weights(folder):
        merged = folder.parent / "huggingface" / folder.name[folder.name.rfind("ba"):]
        if not weights.has_weights(merged):
            raise _no_weights(path, f"it holds adapters, and {merged}, where they are merged, is "
                              "not there")
        folder = merged
    if not weights.has_weights(folder):
        raise _no_weights(path, f"{folder} holds no {weights.SINGLE}")
    return folder


def _no_weights(path: str, why: str) -> TrainerError:
    return TrainerError("INVALID_CUSTOM_WEIGHTS", f"Cannot use custom weights {path}: {why}.",
                        field="custom_weights_path")


def _read_json(path: Path) -> dict:
    try:
        document = json.loads(path.read_bytes())
        if not isinstance(document, dict):
            raise ValueError("not a JSON object")
        return document
    except (OSError, ValueError) as error:
        raise TrainerError("UNSUPPORTED_MODEL", f"Cannot read {path}: {error}") from None
