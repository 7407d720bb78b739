"""A base model from a hub: which of its files are fetched, and when.

Nothing is fetched that is not read here. Weights are safetensors or none: unpickling runs code of whoever wrote the
file, so pickles do not even come onto the disk.
"""

from __future__ import annotations

from pathlib import Path

from trainer import hub, tokenizer, weights
from trainer.errors import TrainerError
from trainer.hub import Hub

CONFIG = "config.json"
MAX_DESCRIPTION_BYTES = 64 * 1024 * 1024  # each of configuration, tokenizer, index
MAX_WEIGHTS_FILE_BYTES = 64 * 1024**3


class HubModel:
    """A model repository at one commit, with weights that can be used."""

    def __init__(self, source: Hub, name: str) -> None:
        self._hub = source
        self._repository = source.open(hub.MODEL, name, field="model")
        self.revision = self._repository.commit
        files = self._repository.files
        if CONFIG not in files:
            raise self._refused("UNSUPPORTED_MODEL", f"has no {CONFIG}, so it is not in the Transformers layout")
        if weights.SINGLE in files or weights.INDEX in files:
            return
        if any(name.endswith(weights.PICKLES) for name in files):
            raise self._refused("PICKLED_WEIGHTS", "has its weights only as pickles (*.bin, *.pt), which are never "
                                "opened because loading one runs code. Use a model or a copy of it with safetensors")
        raise self._refused("MODEL_WITHOUT_WEIGHTS", f"has neither {weights.SINGLE} nor {weights.INDEX}")

    def fetch_config(self) -> Path:
        """The folder of the cache in which config.json lies now."""
        return self._fetch(CONFIG, MAX_DESCRIPTION_BYTES).parent

    def fetch_tokenizer(self) -> None:
        for name in (*tokenizer.FILES, "generation_config.json"):
            if name in self._repository.files:
                self._fetch(name, MAX_DESCRIPTION_BYTES)

    def fetch_weights(self) -> None:
        if weights.INDEX in self._repository.files:
            index = self._fetch(weights.INDEX, MAX_DESCRIPTION_BYTES)
            names = [path.name for path in weights.files_in(index.parent)]
        else:
            names = [weights.SINGLE]
        for name in names:
            if name not in self._repository.files or not name.endswith(".safetensors"):
                raise self._refused("INVALID_WEIGHTS", f"lacks {name}, which its {weights.INDEX} names")
            self._fetch(name, MAX_WEIGHTS_FILE_BYTES)

    def _fetch(self, name: str, max_bytes: int) -> Path:
        return self._hub.fetch(self._repository, name, max_bytes, field="model")

    def _refused(self, code: str, why: str) -> TrainerError:
        return TrainerError(code, f"The model {self._repository.name} of the hub {why}.", field="model")
