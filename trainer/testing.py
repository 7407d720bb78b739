"""What the tests share: a model of a few thousand parameters, data, attempts in this process."""

from __future__ import annotations

import json
import shutil
import tempfile
import unittest
from pathlib import Path
from typing import Callable

from trainer import make_tiny_llama
from trainer.control import Control
from trainer.environment import PACKAGED_MODELS, Environment
from trainer.events import EventWriter
from trainer.loop import Attempt

TINY = PACKAGED_MODELS / make_tiny_llama.NAME
MICRO = "test/micro"
# hidden size 16, 2 layers, 4 heads over 2 key/value heads: 8,144 parameters with tied embeddings
MICRO_SHAPE = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "head_dim": 4,
               "max_position_embeddings": 64, "initializer_range": 0.1}


def make_model(root: Path, name: str = MICRO, **config: object) -> Path:
    """A model folder under `root` with tiny-llama's tokenizer and a smaller network."""
    folder = root / name
    shutil.copytree(TINY, folder)
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **MICRO_SHAPE, **config}))
    return folder


def write_lines(path: Path, lines: list[object]) -> str:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(path)


def pairs(count: int) -> list[object]:
    return [{"prompt": f"{n} plus {n}?", "response": f" {2 * n}" + "!" * (n % 7)}
            for n in range(count)]


class RunFolder:
    """The files of one run, as an agent lays them out."""

    def __init__(self, path: Path, **spec: object) -> None:
        self.path = path
        path.mkdir(parents=True)
        self.models = path / "models"
        make_model(self.models)
        self.checkpoints = path / "checkpoints"
        self.checkpoints.mkdir()
        self.control = path / "control.json"
        self.error = path / "error.json"
        self.spec = {"model": MICRO, "task_type": "INSTRUCTION_FINETUNE", "learning_rate": 0.01,
                     "train_data_path": write_lines(path / "train.jsonl", pairs(20)), **spec}

    def variables(self, **more: str) -> dict[str, str]:
        spec = self.path / "spec.json"
        spec.write_text(json.dumps(self.spec))
        return {"FINETUNED_CONTRACT": "1", "FINETUNED_SPEC": str(spec),
                "FINETUNED_EVENTS": str(self.path / "events.jsonl"),
                "FINETUNED_CONTROL": str(self.control),
                "FINETUNED_CHECKPOINT_DIR": str(self.checkpoints),
                "FINETUNED_MODEL_ROOTS": str(self.models),
                "FINETUNED_ERROR_FILE": str(self.error), "FINETUNED_THREADS": "1", **more}

    def ask(self, **wish: object) -> None:
        """Replaces the control file atomically, as the agent does."""
        new = self.path / "control.new"
        new.write_text(json.dumps(wish))
        new.rename(self.control)

    def attempt(self, on_event: Callable[[dict], None] = lambda event: None,
                resume_from: Path | None = None) -> tuple[int, list[dict]]:
        """Trains in this process; gives exit status and events. Failures are raised."""
        environment = Environment.from_variables(
            self.variables(FINETUNED_RESUME_FROM=str(resume_from or "")))
        events = RecordingEvents(environment.events, on_event)
        status = Attempt(environment, events, Control(environment.control)).run()
        events.close()
        return status, events.seen


class RecordingEvents(EventWriter):
    """Also keeps the events, and shows each one to a test as it happens."""

    def __init__(self, path: Path, on_event: Callable[[dict], None]) -> None:
        super().__init__(path)
        self.seen: list[dict] = []
        self._on_event = on_event

    def emit(self, type_: str, **fields: object) -> None:
        super().emit(type_, **fields)
        self.seen.append({"type": type_, **fields})
        self._on_event(self.seen[-1])


class FolderCase(unittest.TestCase):
    """A test with a folder of its own."""

    def setUp(self) -> None:
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = Path(holder.name)


def of_type(events: list[dict], type_: str) -> list[dict]:
    return [event for event in events if event["type"] == type_]
