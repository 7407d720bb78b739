"""The promise of the system on real processes: a run goes on, exactly once, whatever is killed under it.

Postgres, the daemon, the agent and the trainer are the real programs, started by `finetuned dev`; each is killed by
SIGKILL while a run trains.
"""
import importlib
import inspect
import json
import os
import signal
import subprocess
import sys
import time
import unittest

import support

MODEL = "finetuned/tiny-llama"
# Long enough for every kill, and short enough to be waited for.
RUN_BATCHES = 400
TERMINAL = {"COMPLETED", "CANCELED", "FAILED"}
# Importing torch is most of the start of a trainer; machines that test are slow.
TRAINER_START_SECONDS = 120
PROGRESS_SECONDS = 60
RUN_SECONDS = 240
SETTLE_SECONDS = 60
DOCUMENTED = ("argparse ast asyncio base64 calendar codecs collections configparser csv datetime decimal difflib email "
              "fractions functools heapq html http inspect ipaddress itertools json logging math os pathlib pickle "
              "random re shutil socket sqlite3 statistics string subprocess tarfile tempfile textwrap threading "
              "typing unittest urllib.request uuid xml.dom zipfile").split()


def write_data(folder):
    """Training data from the documentation that every Python carries in itself."""
    pairs, text = {}, []
    for module_name in DOCUMENTED:
        module = importlib.import_module(module_name)
        for name, thing in sorted(vars(module).items()):
            doc = inspect.getdoc(thing) if not name.startswith("_") and callable(thing) else None
            if doc:
                pairs[f"What is {module_name}.{name}?"] = doc.strip().splitlines()[0][:200]
                text.append(f"{module_name}.{name}\n{doc}\n")
    lines = [json.dumps({"prompt": prompt, "response": response}) for prompt, response in sorted(pairs.items())]
    for path, content in (("text/python.txt", "\n".join(text)[:200_000]),
                          ("pairs.jsonl", "\n".join(lines[40:]) + "\n"),
                          ("pairs-eval.jsonl", "\n".join(lines[:40]) + "\n")):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(content, encoding="utf-8")


class KillTest(unittest.TestCase):
    def setUp(self):
        self.folder = support.make_folder()
        self.dev = support.Dev(self.folder)
        self.addCleanup(self.dev.destroy)
        self.data = self.folder / "data"
        write_data(self.data)
        self.began = time.monotonic()

    def run(self, result=None):
        before = len(result.failures) + len(result.errors) if result else 0
        super().run(result)
        if result and len(result.failures) + len(result.errors) > before:
            sys.stderr.write(getattr(self, "logs_at_failure", ""))

    def say(self, text):
        print(f"  {time.monotonic() - self.began:6.1f} s  {text}", flush=True)

    def create_instruction_run(self, name, *more):
        self.dev.cli("run", "create", "--name", name, "--model", MODEL, "--task", "instruction",
                     "--train-data", self.data / "pairs.jsonl", "--eval-data", self.data / "pairs-eval.jsonl",
                     "--duration", f"{RUN_BATCHES}ba", "--save-interval", "20ba", "--learning-rate", "0.001",
                     "--context-length", "64", "-o", "name", *more)

    def last_seq(self, run):
        """The newest number in the database, asked again while the daemon is away."""
        def ask():
            done = subprocess.run(self.dev.cli_argv("run", "get", run, "-o", "json"), capture_output=True,
                                  env=self.dev.environment, timeout=support.CALL_SECONDS)
            return int(json.loads(done.stdout)["last_seq"]) if done.returncode == 0 else None
        return support.wait_until("the daemon answers", ask, PROGRESS_SECONDS)

    def service_started_anew(self, name, old):
        def other():
            process = self.dev.service(name)
            return process is not None and process.pid != old and process
        return support.wait_until(f"{name} is started again", other, PROGRESS_SECONDS)

    def kill_service(self, name, run, watch):
        """Kills one part and waits until what is new in the run can only have come through its successor."""
        victim = self.dev.service(name)
        os.kill(victim.pid, signal.SIGKILL)
        successor = self.service_started_anew(name, victim.pid)
        after = self.last_seq(run)
        event = watch.wait_for(f"progress after {name} was killed", lambda e: e["type"] == "TRAIN_UPDATED",
                               PROGRESS_SECONDS, after)
        self.say(f"killed {name} {victim.pid}, now {successor.pid}; event {event['seq']}: {event['message']}")

    def kill_trainer(self, run, watch, and_agent):
        [trainer] = support.trainers_of(run)
        attempt = int(trainer.environment["FINETUNED_ATTEMPT"])
        if and_agent:
            agent = self.dev.service("worker")
            os.kill(agent.pid, signal.SIGKILL)
        os.kill(trainer.pid, signal.SIGKILL)
        event = watch.wait_for(
            "progress in a new attempt",
            lambda e: e["type"] == "TRAIN_UPDATED" and int(e["attempt"]) > attempt, TRAINER_START_SECONDS)
        if and_agent:
            self.service_started_anew("worker", agent.pid)
        self.say(f"killed the trainer {trainer.pid}{' and the agent' if and_agent else ''}; "
                 f"event {event['seq']} of attempt {event['attempt']}: {event['message']}")

    def check_log(self, run, watched):
        """The events of a run that is over: numbered without a gap, ended once, and shown once each to the watcher."""
        events = self.dev.events(run)
        self.assertEqual([int(e["seq"]) for e in events], list(range(1, len(events) + 1)))
        self.assertEqual([e["type"] for e in events if e["type"] in TERMINAL], ["COMPLETED"])
        self.assertEqual(events[-1]["type"], "COMPLETED")
        self.assertEqual([e["event_time"] for e in events], sorted(e["event_time"] for e in events))
        self.assertEqual([int(e["seq"]) for e in watched], [int(e["seq"]) for e in events])
        self.assertEqual(watched, events)
        return events

    def check_model(self, name, run):
        """The run has registered one version, which is a copy of its last checkpoint's weights."""
        model = self.dev.ask("model", "get", name)
        [version] = model["versions"]
        self.assertEqual((version["version"], version["run"].rpartition("/")[2]), (1, run))
        self.assertEqual(self.dev.ask("run", "get", run)["registered_version"], f"{model['name']}/versions/1")
        newest = self.dev.ask("run", "checkpoints", run)["checkpoints"][0]
        artifacts = self.dev.data_dir / "artifacts"
        for file in ("config.json", "model.safetensors", "tokenizer.json"):
            self.assertEqual((artifacts / version["path"] / file).read_bytes(),
                             (artifacts / newest["huggingface_path"] / file).read_bytes(), file)

    def check_run(self, run, attempts):
        found = self.dev.ask("run", "get", run)
        self.assertEqual(found["state"], "COMPLETED")
        self.assertEqual(int(found["attempt"]), attempts)
        checkpoints = self.dev.ask("run", "checkpoints", run)["checkpoints"]
        self.assertEqual(int(checkpoints[0]["step"]), RUN_BATCHES)
        self.assertEqual(found["latest_checkpoint"], checkpoints[0]["path"])
        for checkpoint in checkpoints:
            folder = self.dev.data_dir / "artifacts" / checkpoint["path"]
            self.assertTrue(any(folder.iterdir()), f"{folder} is empty")
        quota = self.dev.ask("quota")
        self.assertEqual((int(quota["active_usage"]), quota["active_runs"]), (0, []))

    def check_attempts(self, events, sampler, attempts):
        """Each attempt but the last was requeued, each but the first went on from a checkpoint, by one trainer each."""
        self.assertEqual([int(e["attempt"]) for e in events if e["type"] == "STARTED"],
                         list(range(1, attempts + 1)))
        self.assertEqual([int(e["attempt"]) for e in events if e["type"] == "REQUEUED"],
                         list(range(1, attempts)))
        self.assertEqual([int(e["attempt"]) for e in events if e["type"] == "RESUMED"],
                         list(range(2, attempts + 1)))
        # The first batches of an attempt are after the newest checkpoint that was published before it.
        saved = 0
        for event in events:
            if event["type"] == "CHECKPOINT_SAVED":
                saved = int(event["checkpoint"]["step"])
            elif event["type"] == "RESUMED":
                self.assertIn(f"ba{saved}", event["message"])
        self.assertGreater(sampler.looks, 100)
        self.assertEqual(sampler.together, [], "two trainers of one run lived at once")
        self.assertEqual(len(sampler.seen), attempts)

    def checked(self, body):
        """Keeps the logs of a test that fails before its folder is removed."""
        try:
            body()
        except BaseException:
            self.logs_at_failure = self.dev.logs()
            raise

    def test_a_run_completes_exactly_once_whatever_is_killed(self):
        self.checked(self.kill_everything_in_turn)

    def kill_everything_in_turn(self):
        self.dev.start()
        self.dev.cli("run", "create", "--name", "pretrain", "--model", MODEL, "--task", "continued-pretrain",
                     "--train-data", self.data / "text", "--duration", "40ba", "--save-interval", "10ba",
                     "--learning-rate", "0.001", "--context-length", "128", "-o", "name")
        self.assertEqual(support.Watch(self.dev, "pretrain", "--exit-status").finish(RUN_SECONDS), 0)
        weights = self.dev.ask("run", "checkpoints", "pretrain")["checkpoints"][0]["path"]
        self.say(f"pretrain is COMPLETED: {weights}")

        self.create_instruction_run("victim", "--custom-weights", weights, "--register-to", "main.default.victim")
        sampler = support.TrainerSampler("victim")
        sampler.start()
        self.addCleanup(sampler.stop)
        watch = support.Watch(self.dev, "victim", "--from", "1", "--exit-status")
        watch.wait_for("the first checkpoint", lambda e: e["type"] == "CHECKPOINT_SAVED", TRAINER_START_SECONDS)
        self.say("victim trains")
        self.kill_service("worker", "victim", watch)
        self.kill_trainer("victim", watch, and_agent=False)
        self.kill_service("serve", "victim", watch)
        self.kill_service("postgres", "victim", watch)
        self.kill_trainer("victim", watch, and_agent=True)
        self.assertEqual(watch.finish(RUN_SECONDS), 0, watch.errors())
        self.say("victim is COMPLETED")
        self.assertIn("Lost the server", watch.errors())

        events = self.check_log("victim", watch.events)
        self.check_run("victim", attempts=3)
        self.check_model("main.default.victim", "victim")
        sampler.stop()
        self.check_attempts(events, sampler, attempts=3)

        self.assertEqual(self.dev.stop(), 0)
        self.assertEqual(support.processes_of(self.folder), [])
        self.say("all of it has ended")

    def test_a_run_goes_on_after_the_supervisor_was_killed(self):
        self.checked(self.kill_the_supervisor)

    def kill_the_supervisor(self):
        self.dev.start()
        self.create_instruction_run("orphan")
        sampler = support.TrainerSampler("orphan")
        sampler.start()
        self.addCleanup(sampler.stop)
        watch = support.Watch(self.dev, "orphan", "--from", "1", "--exit-status")
        watch.wait_for("a checkpoint", lambda e: e["type"] == "CHECKPOINT_SAVED", TRAINER_START_SECONDS)
        self.dev.process.kill()
        self.dev.process.wait()
        support.wait_until("Postgres, the daemon, the agent and the trainer have ended by themselves",
                           lambda: not support.processes_of(self.dev.data_dir), SETTLE_SECONDS)
        self.say("nothing is left of the killed supervisor")
        self.dev.start()
        self.assertEqual(watch.finish(RUN_SECONDS), 0, watch.errors())
        events = self.check_log("orphan", watch.events)
        self.check_run("orphan", attempts=2)
        sampler.stop()
        self.check_attempts(events, sampler, attempts=2)
        self.assertEqual(self.dev.stop(), 0)
        self.assertEqual(support.processes_of(self.folder), [])


if __name__ == "__main__":
    unittest.main(verbosity=2)
