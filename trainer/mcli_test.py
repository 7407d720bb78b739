"""What Composer's MosaicMLLogger says, through the package that it imports."""

import importlib
import json
import os
import sys
import unittest.mock
from pathlib import Path

from trainer.testing import FolderCase

ADAPTERS = Path(__file__).resolve().parent / "adapters"


class MosaicMLLoggerTest(FolderCase):
    def setUp(self):
        super().setUp()
        self.events = self.folder / "events.jsonl"
        spec = self.folder / "spec.json"
        spec.write_text(json.dumps({"model": "mosaicml/mpt-7b"}))
        variables = {"FINETUNED_EVENTS": str(self.events), "FINETUNED_SPEC": str(spec)}
        self.enterContext(unittest.mock.patch.dict(os.environ, variables))
        self.enterContext(unittest.mock.patch.object(sys, "path", [str(ADAPTERS), *sys.path]))
        sys.modules.pop("mcli", None)
        self.mcli = importlib.import_module("mcli")
        self.addCleanup(sys.modules.pop, "mcli", None)

    def say(self, **metadata):
        # As composer 0.24 calls it: all keys with a prefix, and a future to wait for.
        said = {f"mosaicml/{key.replace('__', '/')}": value for key, value in metadata.items()}
        future = self.mcli.update_run_metadata("run-1", said, future=True, protect=True)
        self.assertIsNone(future.exception(timeout=1))

    def told(self):
        lines = [json.loads(line) for line in self.events.read_bytes().splitlines()]
        return [{key: value for key, value in line.items() if key not in ("v", "ts")} for line in lines]

    def test_a_training_in_epochs(self):
        self.say(model_initialized_time=1.5, mlflow__run_url="https://mlflow/1", num_nodes=1)
        self.say(train_started_time=2.0)
        self.say(training_progress="[epoch=2/2]", training_sub_progress="[batch=3/28]", loss__train__total=1.25,
                 **{"lr-DecoupledLionW__group0": 5e-7})
        self.say(training_progress="[epoch=2/2]", training_sub_progress="[batch=28/28]",
                 metrics__eval__LanguageCrossEntropy=2.5, train_finished_time=9.0)
        self.say(train_finished_time=9.0, model_initialized_time=1.5, mlflow__run_url="https://mlflow/1")
        self.assertEqual(self.told(), [
            {"type": "linked", "links": {"mlflow": "https://mlflow/1"}},
            {"type": "model_initialized", "model": "mosaicml/mpt-7b"},
            {"type": "progress", "epoch": 2, "epochs": 2, "batch": 3, "batches": 28, "step": 31, "total_batches": 56,
             "metrics": {"train/loss": 1.25, "lr": 5e-7}},
            {"type": "progress", "epoch": 2, "epochs": 2, "batch": 28, "batches": 28, "step": 56, "total_batches": 56,
             "metrics": {}},
            {"type": "eval", "step": 56, "when": "checkpoint", "metrics": {"eval/loss": 2.5}},
            {"type": "train_finished"}])

    def test_a_training_in_batches_or_in_tokens(self):
        self.say(training_progress="[batch=3/56]")
        self.say(training_progress="[token=1000/100000]", loss__train__total=float("nan"))
        self.say(training_progress="[epoch=1/3]", training_sub_progress="[batch=7]")
        self.assertEqual([{key: value for key, value in line.items() if key not in ("type", "metrics")}
                          for line in self.told()],
                         [{"batch": 3, "batches": 56, "step": 3, "total_batches": 56},
                          {"tokens": 1000, "max_tokens": 100000},
                          {"epoch": 1, "epochs": 3, "batch": 7, "batches": 0}])

    def test_links_come_when_they_are_new(self):
        self.say(wandb__run_url="https://wandb/1")
        self.say(wandb__run_url="https://wandb/1", mlflow__run_url="https://mlflow/1")
        self.say(wandb__run_url="None", mlflow__run_url=None)
        self.say(wandb__run_url="https://wandb/2")
        self.assertEqual([line["links"] for line in self.told()],
                         [{"wandb": "https://wandb/1"}, {"wandb": "https://wandb/1", "mlflow": "https://mlflow/1"},
                          {"wandb": "https://wandb/2", "mlflow": "https://mlflow/1"}])

    def test_what_it_resumed_from_and_what_it_saved(self):
        self.say(checkpoint_resumed_path="/x/checkpoints/ep1-ba50/__0_0.distcp")
        self.mcli.saved_checkpoint("ep1-ba56", step=56, huggingface="huggingface/ba56")
        self.assertEqual(self.told(), [
            {"type": "resumed", "checkpoint": "ep1-ba50"},
            {"type": "checkpoint", "path": "ep1-ba56", "step": 56, "tokens": 0, "huggingface": "huggingface/ba56",
             "kind": "training", "complete": True}])

    def test_nothing_that_goes_wrong_reaches_the_training(self):
        with unittest.mock.patch.dict(os.environ, {"FINETUNED_EVENTS": ""}):
            self.say(training_progress="[batch=1/2]")
        with unittest.mock.patch("os.write", side_effect=OSError(28, "No space left on device")):
            self.say(training_progress="[batch=1/2]")
        self.say(training_progress="[batch=2/2]")
        self.assertEqual([line["batch"] for line in self.told()], [2])
