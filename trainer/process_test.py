"""The contract as an agent sees it: a real process, its exit status, its files."""

import contextlib
import io
import json
import os
import select
import signal
import subprocess
import sys
import time
import unittest
from pathlib import Path

import torch

from trainer.__main__ import _explain
from trainer.testing import FolderCase, RunFolder, of_type

ROOT = Path(__file__).resolve().parent.parent
DEADLINE_SECONDS = 60.0


class ProcessCase(FolderCase):
    def setUp(self):
        super().setUp()
        self.run_folder = RunFolder(self.folder / "run")
        self.pipe = self.folder / "events.pipe"
        self.events: list[dict] = []

    def start(self, **variables: str) -> subprocess.Popen:
        """Starts the trainer with its events on a pipe, so that a test can wait for them."""
        os.mkfifo(self.pipe)
        self._reader = os.open(self.pipe, os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, self._reader)
        self._unread = b""
        process = self.spawn(**{"FINETUNED_EVENTS": str(self.pipe), **variables})
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def spawn(self, **variables: str) -> subprocess.Popen:
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT),
                       **self.run_folder.variables(**variables)}
        return subprocess.Popen([sys.executable, "-m", "trainer"], env=environment,
                                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def wait_for(self, type_: str) -> dict:
        """The next event of a type; fails when the pipe ends or the deadline passes."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while True:
            while b"\n" in self._unread:
                line, self._unread = self._unread.split(b"\n", 1)
                self.events.append(json.loads(line))
                if self.events[-1]["type"] == type_:
                    return self.events[-1]
            ready, _, _ = select.select([self._reader], [], [], deadline - time.monotonic())
            self.assertTrue(ready, f"no {type_} event in time")
            piece = os.read(self._reader, 65536)
            self.assertTrue(piece, f"the trainer ended without a {type_} event")
            self._unread += piece

    def finish(self, process: subprocess.Popen) -> tuple[int, str]:
        _, stderr = process.communicate(timeout=DEADLINE_SECONDS)
        return process.returncode, stderr

    def run_to_end(self, **variables: str) -> tuple[int, list[dict], str]:
        status, stderr = self.finish(self.spawn(**variables))
        path = self.run_folder.path / "events.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return status, [json.loads(line) for line in lines], stderr


class ExitStatusTest(ProcessCase):
    def test_success_is_0(self):
        status, events, _ = self.run_to_end()
        self.assertEqual(status, 0)
        self.assertEqual([event["type"] for event in events[-2:]], ["train_finished", "checkpoint"])
        self.assertFalse(self.run_folder.error.exists())

    def failure(self, expected_status: int, code: str, attribution="user", **variables) -> str:
        status, events, stderr = self.run_to_end(**variables)
        told = json.loads(self.run_folder.error.read_text())
        self.assertEqual((status, told["code"]), (expected_status, code))
        self.assertEqual(told["attribution"], attribution)
        self.assertIn(told["message"].splitlines()[0], stderr)
        if events:
            self.assertEqual({key: events[-1][key] for key in told}, told)
            self.assertEqual(events[-1]["type"], "failed")
        return told["message"]

    def test_wrong_data_are_65(self):
        path = Path(self.run_folder.spec["train_data_path"])
        path.write_text(path.read_text() + '{"question": "?"}\n')
        self.assertIn(f"{path}:21: Found keys {{'question'}}",
                      self.failure(65, "UNKNOWN_EXAMPLE_TYPE"))

    def test_a_wrong_specification_is_78(self):
        self.run_folder.spec["training_duration"] = "1 epoch"
        self.failure(78, "INVALID_DURATION")

    def test_another_contract_is_78(self):
        self.assertIn("FINETUNED_CONTRACT is '2'",
                      self.failure(78, "UNSUPPORTED_CONTRACT", FINETUNED_CONTRACT="2"))

    def test_a_lacking_environment_is_64(self):
        self.failure(64, "MISSING_ENVIRONMENT", FINETUNED_EVENTS="")
        self.failure(64, "INVALID_ENVIRONMENT", FINETUNED_THREADS="many")

    def test_a_checkpoint_that_cannot_be_written_is_internal(self):
        self.failure(1, "CHECKPOINT_NOT_WRITTEN", "internal",
                     FINETUNED_CHECKPOINT_DIR=self.run_folder.spec["train_data_path"])


class StopTest(ProcessCase):
    def setUp(self):
        super().setUp()
        self.run_folder.spec.update(training_duration="1000000ba", save_interval="1000000ba")

    def test_sigterm_saves_and_leaves_with_75(self):
        process = self.start()
        self.wait_for("progress")
        process.send_signal(signal.SIGTERM)
        ack = self.wait_for("preempt_ack")
        self.assertEqual(self.finish(process)[0], 75)
        saved = of_type(self.events, "checkpoint")[0]
        self.assertEqual(ack["checkpoint"], saved["path"])
        self.assertEqual(saved["step"], of_type(self.events, "progress")[-1]["step"])
        self.assertTrue((self.run_folder.checkpoints / saved["path"]).is_dir())

    def test_requests_in_the_control_file(self):
        process = self.start()
        self.wait_for("progress")
        self.run_folder.ask(stop=None, checkpoint_now=1)
        saved = self.wait_for("checkpoint")
        self.assertTrue((self.run_folder.checkpoints / saved["huggingface"]).is_dir())
        self.wait_for("progress")  # training goes on
        self.run_folder.ask(stop="cancel", checkpoint_now=1)
        process.send_signal(signal.SIGTERM)
        self.assertEqual(self.wait_for("preempt_ack")["checkpoint"], saved["path"])
        self.assertEqual(self.finish(process)[0], 75)
        self.assertEqual(len(of_type(self.events, "checkpoint")), 1)


class ExplainTest(unittest.TestCase):
    def test_out_of_memory_is_told_with_advice(self):
        for provoke in (lambda: torch.empty(1 << 50), self.raise_memory_error):
            try:
                provoke()
            except (RuntimeError, MemoryError) as error:
                with contextlib.redirect_stderr(io.StringIO()):
                    told = _explain(error)
            self.assertEqual((told.code, told.attribution, told.exit_status),
                             ("OUT_OF_MEMORY", "oom", 1))
            self.assertIn("context_length", told.message)

    def raise_memory_error(self):
        raise MemoryError

    def test_the_unexpected_is_internal(self):
        with contextlib.redirect_stderr(io.StringIO()) as stderr:
            told = _explain(ZeroDivisionError("x"))
        self.assertIn("ZeroDivisionError", stderr.getvalue())
        self.assertEqual((told.code, told.message, told.attribution),
                         ("INTERNAL_ERROR", "ZeroDivisionError: x", "internal"))
