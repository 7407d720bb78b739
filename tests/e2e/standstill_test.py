#!/usr/bin/env python3
"""A run that stands still: paused by its owner, because its trainer hangs, or because its checkpoint is damaged.

Real processes as `finetuned dev` starts them. FINETUNED_BIN names the folder with the programs.
"""
import os
import signal
import unittest

import support

MODEL = "finetuned/tiny-llama"
# Long enough to be paused, or to be found hung, before the end.
BATCHES = 400
START_SECONDS = 120
RUN_SECONDS = 240
# Longer than torch takes to be imported on a slow machine: nothing is said before.
STALL_SECONDS = 20
GRACE_SECONDS = 2


class StandstillTest(unittest.TestCase):
    def setUp(self):
        folder = support.make_folder()
        self.dev = support.Dev(folder, serve_settings=[f"lease.grace_duration={GRACE_SECONDS}s"],
                               worker_settings=[f"trainer_stall_duration={STALL_SECONDS}s"])
        self.addCleanup(self.dev.destroy)
        self.data = folder / "pairs.jsonl"
        self.data.write_text("".join(f'{{"prompt": "{n} and 1?", "response": " {n + 1}"}}\n' for n in range(200)))
        self.dev.start()

    def create(self, name):
        self.dev.cli("run", "create", "--name", name, "--model", MODEL, "--task", "instruction", "--train-data",
                     self.data, "--duration", f"{BATCHES}ba", "--save-interval", "20ba", "--learning-rate", "0.001",
                     "--context-length", "64", "-o", "name")
        return support.Watch(self.dev, name, "--from", "1", "--exit-status")

    def weights(self, run):
        newest = self.dev.ask("run", "checkpoints", run)["checkpoints"][0]
        self.assertEqual(int(newest["step"]), BATCHES)
        folder = self.dev.data_dir / "artifacts" / newest["huggingface_path"]
        return (folder / "model.safetensors").read_bytes()

    def test_a_paused_run_ends_as_one_that_was_never_paused(self):
        self.assertEqual(self.create("straight").finish(RUN_SECONDS), 0)

        watch = self.create("paused")
        watch.wait_for("a checkpoint", lambda e: e["type"] == "CHECKPOINT_SAVED", START_SECONDS)
        self.dev.cli("run", "pause", "paused", "--reason", "Lunch.")
        event = watch.wait_for("it is paused", lambda e: e["type"] == "PAUSED", START_SECONDS)
        self.assertIn("newest checkpoint", event["message"])
        self.assertEqual(support.trainers_of("paused"), [])
        run = self.dev.ask("run", "get", "paused")
        self.assertEqual((run["state"], run["worker"]), ("PAUSED", ""))
        self.assertEqual(self.dev.ask("quota")["active_runs"], [])

        self.dev.cli("run", "resume", "paused")
        self.assertEqual(watch.finish(RUN_SECONDS), 0, watch.errors())
        types = [e["type"] for e in self.dev.events("paused")]
        for kind in ("STOP_REQUESTED", "PAUSED", "RESUME_REQUESTED", "RESUMED", "COMPLETED"):
            self.assertEqual(types.count(kind), 1, types)
        self.assertNotIn("REQUEUED", types)
        self.assertEqual(self.weights("paused"), self.weights("straight"))

    def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(self):
        self.assertEqual(self.create("whole").finish(RUN_SECONDS), 0)

        watch = self.create("damaged")
        watch.wait_for("two checkpoints", lambda e: e["type"] == "CHECKPOINT_SAVED"
                       and int(e["checkpoint"]["step"]) >= 40, START_SECONDS)
        self.dev.cli("run", "pause", "damaged")
        watch.wait_for("it is paused", lambda e: e["type"] == "PAUSED", START_SECONDS)
        newest, before = self.dev.ask("run", "checkpoints", "damaged")["checkpoints"][:2]
        weights = self.dev.data_dir / "artifacts" / newest["path"] / "model.safetensors"
        content = bytearray(weights.read_bytes())
        content[-1] ^= 1
        weights.write_bytes(content)

        self.dev.cli("run", "resume", "damaged")
        self.assertEqual(watch.finish(RUN_SECONDS), 0, watch.errors())
        [event] = [e for e in self.dev.events("damaged") if e["type"] == "REQUEUED"]
        self.assertEqual(event["failure"]["code"], "CHECKPOINT_DAMAGED")
        self.assertIn("continues from the checkpoint before it", event["message"])
        [event] = [e for e in self.dev.events("damaged") if e["type"] == "RESUMED"]
        self.assertIn(before["name"], event["message"])
        self.assertEqual(self.weights("damaged"), self.weights("whole"))

    def test_a_trainer_that_hangs_is_replaced(self):
        watch = self.create("hung")
        watch.wait_for("a checkpoint", lambda e: e["type"] == "CHECKPOINT_SAVED", START_SECONDS)
        [trainer] = support.trainers_of("hung")
        os.kill(trainer.pid, signal.SIGSTOP)
        event = watch.wait_for("it is tried again", lambda e: e["type"] == "REQUEUED", START_SECONDS)
        self.assertEqual((event["failure"]["code"], event["failure"]["attribution"]), ("TRAINER_STALLED", "STALLED"))
        self.assertEqual(watch.finish(RUN_SECONDS), 0, watch.errors())
        self.assertEqual(int(self.dev.ask("run", "get", "hung")["attempt"]), 2)
        self.assertEqual(support.trainers_of("hung"), [])


if __name__ == "__main__":
    unittest.main(verbosity=2)
