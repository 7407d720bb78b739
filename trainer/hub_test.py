"""Models and data sets from a hub: the real library, in a real trainer process, against a hub on loopback."""

import csv
import errno
import io
import json
import os
import shutil
import subprocess
import sys
import unittest
from pathlib import Path

import pyarrow
from pyarrow import parquet
from transformers import AutoModelForCausalLM

from trainer import catalogue, hub_dataset, hub_errors, weights
from trainer.testing import MICRO, FolderCase, RunFolder, make_model, of_type, pairs
from trainer.testing_hub import FakeHub

ROOT = Path(__file__).resolve().parent.parent
MODEL, DATASET = "org/tiny", "org/sums"
DEADLINE_SECONDS = 120.0
# The trainer with shorter pauses; what its last line tells is whether the library was loaded.
START = """
import sys
from trainer import hub, hub_dataset
hub.RETRY_PAUSES_SECONDS = (0.01, 0.01)
{before}
from trainer.__main__ import main
status = main()
print("loaded", "huggingface_hub" in sys.modules, file=sys.stderr)
sys.exit(status)
"""
# Looks for several models and data sets in one process, and gives what was found or is said in place of it.
PROBE = """
import json, sys
from trainer import hub, hub_dataset
from trainer.errors import TrainerError
hub.RETRY_PAUSES_SECONDS = (0.01, 0.01)
{before}
def find(name, task=None):
    try:
        if task is None:
            from trainer import catalogue
            return catalogue.find(name, (), source).revision
        found = hub_dataset.fetch(source, name, task, "train_data_path")
        return [[file.name.split("/", 2)[2], file.path.read_text("utf-8", "replace")] for file in found.files]
    except TrainerError as error:
        return [error.code, error.message, error.attribution, error.exit_status]
source = hub.Hub(lambda: None)
print(json.dumps([find(*wanted) for wanted in json.loads(sys.argv[1])]))
"""


def model_files(folder: Path, seed: int = 1, shards: bool = False, **config: object) -> dict[str, bytes]:
    """A repository with weights, and with what must never be fetched."""
    made = make_model(folder, MODEL, **config)
    catalogue_file = made / "catalogue.json"
    catalogue_file.write_text(json.dumps({"init_seed": seed}))
    tensors = dict(catalogue.find(MODEL, (folder,)).load(None).named_parameters())
    catalogue_file.unlink()
    files = {path.name: path.read_bytes() for path in made.iterdir()}
    files.update({"README.md": b"# tiny", "pytorch_model.bin": b"a pickle", "original/params.safetensors": b"another"})
    shutil.rmtree(folder)
    if not shards:
        return {**files, weights.SINGLE: weights.encode(tensors)}
    names = sorted(tensors)
    parts = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    index = {"weight_map": {name: part for part, held in parts.items() for name in held}}
    files.update({part: weights.encode({name: tensors[name] for name in held}) for part, held in parts.items()})
    return {**files, weights.INDEX: json.dumps(index).encode()}


def lines(examples: list) -> bytes:
    return "".join(json.dumps(example) + "\n" for example in examples).encode()


class HubCase(FolderCase):
    def setUp(self):
        super().setUp()
        self.hub = FakeHub()
        self.addCleanup(self.hub.close)
        self.outputs: list[str] = []
        (self.folder / "token").write_text(self.hub.token + "\n")

    def environment(self, cache: str = "hf", **more: str) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": str(self.folder), "NO_PROXY": "127.0.0.1",
                "FINETUNED_HUB": "1", "HF_ENDPOINT": self.hub.url, "HF_HOME": str(self.folder / cache), **more}

    def with_token(self) -> dict[str, str]:
        return {"HF_TOKEN_PATH": str(self.folder / "token")}

    def spawn(self, program: str, arguments: tuple = (), **environment: str) -> subprocess.CompletedProcess:
        done = subprocess.run([sys.executable, "-W", "ignore", "-c", program, *arguments], env=environment,
                              capture_output=True, text=True, timeout=DEADLINE_SECONDS)
        self.outputs += [done.stdout, done.stderr]
        return done

    def new_run(self, name: str = "run", **spec: object) -> RunFolder:
        return RunFolder(self.folder / name, **{"model": MODEL, "training_duration": "2ep", **spec})

    def train(self, run: RunFolder, before: str = "", resume_from: str = "",
              **environment: str) -> tuple[int, list[dict]]:
        """One attempt in a process; its exit status and events. The error file, if any, is in `self.told`."""
        for old in (run.path / "events.jsonl", run.error):
            old.unlink(missing_ok=True)
        variables = run.variables(FINETUNED_RESUME_FROM=str(run.checkpoints / resume_from) if resume_from else "")
        done = self.spawn(START.format(before=before), **self.environment(**{**variables, **environment}))
        text = (run.path / "events.jsonl").read_text() if (run.path / "events.jsonl").exists() else ""
        told = run.error.read_text() if run.error.exists() else "{}"
        self.outputs += [text, told]
        self.told = json.loads(told)
        self.library_loaded = "loaded True" in done.stderr
        return done.returncode, [json.loads(line) for line in text.splitlines()]

    def refused(self, run: RunFolder, status: int, code: str, attribution: str = "user", **more: str) -> str:
        found, events = self.train(run, **more)
        self.assertEqual((found, self.told.get("code"), self.told.get("attribution")), (status, code, attribution),
                         self.outputs[-4:])
        self.assertEqual({key: events[-1][key] for key in self.told}, self.told)
        return self.told["message"]

    def find(self, *wanted: tuple, before: str = "", **environment: str) -> list:
        """For (model,) its revision, for (data set, task) its files' names and texts; or what is said instead."""
        done = self.spawn(PROBE.format(before=before), (json.dumps(wanted),), **self.environment(**environment))
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def assert_no_secret_was_told(self):
        written = [path.read_bytes() for path in self.folder.rglob("*.json*") if path.is_file()]
        for text in self.outputs + [content.decode("utf-8", "replace") for content in written]:
            self.assertNotIn(self.hub.token, text)
            self.assertNotIn("s1gned", text)


def losses(events: list[dict]) -> list[float]:
    return [event["metrics"]["train/loss"] for event in of_type(events, "progress")]


class ModelTest(HubCase):
    def add_model(self, **more: object):
        return self.hub.add("model", MODEL, model_files(self.folder / "made", **more))

    def test_a_model_from_the_hub_trains_and_again_from_the_cache_without_the_hub(self):
        repository = self.add_model()
        run = self.new_run()
        status, events = self.train(run, **self.with_token())
        self.assertEqual(status, 0, self.outputs)
        self.assertEqual(of_type(events, "model_initialized")[0]["revision"], repository.refs["main"])
        self.assertEqual(sorted(self.hub.fetched()),
                         ["config.json", "generation_config.json", "model.safetensors", "special_tokens_map.json",
                          "tokenizer.json", "tokenizer_config.json"])
        # What it began with are the repository's weights.
        local = self.new_run("local")
        for name, content in repository.commits[repository.refs["main"]].items():
            path = local.models / MODEL / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        self.assertEqual(losses(self.train(local, FINETUNED_HUB="0")[1]), losses(events))
        export = run.checkpoints / of_type(events, "checkpoint")[-1]["huggingface"]
        theirs = AutoModelForCausalLM.from_pretrained(export)
        self.assertEqual(sum(p.numel() for p in theirs.parameters()), 8144)
        self.assertTrue(all(came for _, _, came in self.hub.requests))
        self.assertEqual({came for _, _, came in self.hub.elsewhere}, {False})
        self.assert_no_secret_was_told()

        self.hub.close()
        status, again = self.train(self.new_run("again"))
        self.assertEqual((status, losses(again)), (0, losses(events)))
        self.assertEqual(of_type(again, "model_initialized")[0]["revision"], repository.refs["main"])
        self.refused(self.new_run("elsewhere"), 75, "HUB_UNREACHABLE", "network", cache="empty")
        self.assertIn("Connection refused", self.told["message"])

    def test_a_resumed_attempt_takes_the_revisions_it_began_with(self):
        model = self.add_model()
        data = self.hub.add("dataset", DATASET, {"train.jsonl": lines(pairs(20))})
        run = self.new_run(train_data_path=f"{DATASET}/train", recipe={"lora": {"rank": 2}})
        status, events = self.train(run)
        self.assertEqual(status, 0, self.outputs)
        first = model.refs["main"]
        self.assertEqual(of_type(events, "data_validated")[0]["train_revision"], data.refs["main"])
        adapters = json.loads((run.checkpoints / "ep1-ba3" / "adapter_config.json").read_text())
        self.assertEqual(adapters["revision"], first)

        moved = model.commit(model_files(self.folder / "made", seed=2, rope_theta=500.0))
        data.commit({"train.jsonl": lines(pairs(24))})
        status, resumed = self.train(run, resume_from="ep1-ba3", cache="another-worker")
        self.assertEqual((status, losses(resumed)), (0, losses(events)[3:]), self.outputs[-4:])
        self.assertEqual(of_type(resumed, "model_initialized")[0]["revision"], first)
        status, fresh = self.train(self.new_run("fresh", train_data_path=f"{DATASET}/train", training_duration="1ba"))
        self.assertEqual((status, of_type(fresh, "model_initialized")[0]["revision"]), (0, moved))
        self.assertEqual(of_type(fresh, "data_validated")[0]["examples"], 24)

        del model.commits[first]
        found, _ = self.train(run, resume_from="ep1-ba3", cache="a-third")
        self.assertEqual((found, self.told["code"], self.told["attribution"]), (78, "HUB_REVISION_NOT_FOUND", "user"))
        self.assertIn(first, self.told["message"])

    def test_shards_are_fetched_and_weights_that_are_not_needed_are_not(self):
        self.add_model(shards=True)
        run = self.new_run()
        self.assertEqual(self.train(run)[0], 0)
        self.assertEqual(sum(name.endswith(".safetensors") for name in self.hub.fetched()), 2)
        self.hub.requests.clear()
        self.hub.elsewhere.clear()
        status, _ = self.train(run, resume_from="ep1-ba3", cache="another-worker")
        self.assertEqual(status, 0)
        self.assertIn("tokenizer.json", self.hub.fetched())
        self.assertEqual(self.hub.elsewhere, [])

    def test_what_cannot_be_trained_is_refused_before_its_weights_are_fetched(self):
        files = model_files(self.folder / "made")
        pickled = {name: content for name, content in files.items() if name != weights.SINGLE}
        other = {**files, "config.json": files["config.json"].replace(b"LlamaForCausalLM", b"MambaForCausalLM")}
        no_weights = {name: pickled[name] for name in pickled if not name.endswith(".bin")}
        cases = ((pickled, "PICKLED_WEIGHTS", "never opened"), (other, "UNSUPPORTED_MODEL", "Mamba"),
                 (no_weights, "MODEL_WITHOUT_WEIGHTS", "neither"),
                 ({"README.md": b"#"}, "UNSUPPORTED_MODEL", "no config.json"))
        for number, (held, _, _) in enumerate(cases):
            self.hub.add("model", f"org/m{number}", held)
        for said, (_, code, text) in zip(self.find(*((f"org/m{number}",) for number in range(len(cases)))), cases):
            self.assertEqual([said[0], *said[2:]], [code, "user", 78])
            self.assertIn(text, said[1])
        self.assertEqual(self.hub.elsewhere, [])
        self.assertEqual(set(self.hub.fetched()), {"config.json"})

    def test_a_model_root_comes_before_the_hub(self):
        self.hub.add("model", MICRO, {})
        self.assertEqual(self.train(self.new_run(model=MICRO))[0], 0)
        self.assertEqual((self.hub.requests, self.library_loaded), ([], False))

    def test_absent_private_and_gated_ones_are_the_users_affair(self):
        private, gated = self.add_model(), self.hub.add("model", "org/gated", {"config.json": b"", weights.SINGLE: b""})
        private.private = gated.gated = True
        said = self.find(("org/absent",), (MODEL,), ("org/a--b",), ("org/gated",))
        self.assertEqual([[code, *rest] for code, _, *rest in said],
                         [["HUB_NOT_FOUND", "user", 78]] * 3 + [["HUB_ACCESS_DENIED", "user", 78]])
        for text, (_, message, *_) in zip(("model org/absent", "has no token", "org/a--b", "HF_TOKEN_PATH"), said):
            self.assertIn(text, message)
        said = self.find((MODEL,), ("org/gated",), HF_TOKEN="hf_anotherSecret")
        self.assertEqual([code for code, *_ in said], ["HUB_NOT_FOUND", "HUB_ACCESS_DENIED"])
        self.assertIn("has to be granted", said[0][1])
        self.assertNotIn("anotherSecret", "".join(self.outputs))
        self.assertEqual(self.train(self.new_run("granted", training_duration="1ba"), **self.with_token())[0], 0)
        self.assert_no_secret_was_told()

    def test_a_hub_that_fails_is_asked_again_and_then_left_to_another_attempt(self):
        self.add_model()
        self.hub.failures = [503, 429, 200]  # 200 without content is no answer either
        run = self.new_run(training_duration="1ba")
        message = self.refused(run, 75, "HUB_UNREACHABLE", "network")
        self.assertEqual(message, "The hub cannot be reached for model org/tiny: JSONDecodeError.")
        self.assertEqual(len(self.hub.requests), 3)
        self.hub.failures = [503, 503]
        self.assertEqual(self.train(run)[0], 0, self.outputs[-4:])
        self.hub.close_store()
        message = self.refused(run, 75, "HUB_UNREACHABLE", "network", cache="empty", **self.with_token())
        self.assertIn("model org/tiny: Connection refused", message)
        self.assert_no_secret_was_told()

    def test_without_leave_there_is_no_request(self):
        self.add_model()
        self.hub.add("dataset", DATASET, {"train.jsonl": lines(pairs(20))})
        for value in ("", "0"):
            message = self.refused(self.new_run(f"model{value}"), 78, "UNKNOWN_MODEL", FINETUNED_HUB=value)
            self.assertIn("FINETUNED_HUB", message)
            run = self.new_run(f"data{value}", model=MICRO, train_data_path=f"{DATASET}/train")
            self.assertIn("absolute path", self.refused(run, 78, "HUB_NOT_ALLOWED", FINETUNED_HUB=value))
            self.assertFalse(self.library_loaded)
        self.assertEqual(self.hub.requests, [])
        self.refused(self.new_run("yes"), 64, "INVALID_ENVIRONMENT", FINETUNED_HUB="yes")
        self.refused(self.new_run("endpoint"), 64, "INVALID_ENVIRONMENT", HF_ENDPOINT="hub.example.com")


class DiskAndStopTest(HubCase):
    def setUp(self):
        super().setUp()
        shards = {f"data/train-0000{n}-of-00003.jsonl": lines(pairs(20)[n::3]) for n in range(3)}
        self.data = self.hub.add("dataset", DATASET, shards)
        self.run_folder = self.new_run(model=MICRO, train_data_path=f"{DATASET}/train")

    def test_a_full_disk_is_the_infrastructures_affair(self):
        before = "import shutil; shutil.disk_usage = lambda path: shutil._ntuple_diskusage(100, 95, 5)"
        message = self.refused(self.run_folder, 75, "HUB_DISK_FULL", "infrastructure", before=before)
        self.assertIn("5 are free", message)
        self.assertEqual(self.hub.fetched(), [])
        (self.folder / "file").touch()
        self.refused(self.run_folder, 75, "HUB_CACHE_UNUSABLE", "infrastructure", cache="file")

    def test_a_stop_is_heard_between_files(self):
        def stop_at_first_file(path):
            if "/resolve/" in path:
                self.run_folder.ask(stop="pause")

        self.hub.on_request = stop_at_first_file
        status, events = self.train(self.run_folder)
        self.assertEqual((status, events[-1]["type"]), (75, "preempt_ack"), self.outputs)
        self.assertEqual(self.hub.fetched(), ["train-00000-of-00003.jsonl"])

    def test_a_stop_is_heard_while_it_waits_for_the_hub(self):
        self.hub.failures = [503] * 9
        self.hub.on_request = lambda path: self.run_folder.ask(stop="cancel")
        status, events = self.train(self.run_folder, before="hub.RETRY_PAUSES_SECONDS = (600.0,)")
        self.assertEqual((status, events[-1]["type"], len(self.hub.requests)), (75, "preempt_ack", 1))

    def test_what_a_killed_attempt_left_of_a_file_is_gone_on_from(self):
        name = sorted(self.data.commits[self.data.refs["main"]])[0]
        content = self.data.commits[self.data.refs["main"]][name]
        self.assertEqual(self.train(self.run_folder)[0], 0)
        for left in (content[:10], content, content + b"more"):
            with self.subTest(bytes=len(left)):
                snapshot = next((self.folder / "hf").rglob(name.split("/")[1]))
                blob = snapshot.resolve()
                blob.with_name(blob.name + ".incomplete").write_bytes(left)
                snapshot.unlink()
                blob.unlink()
                self.assertEqual(self.train(self.run_folder)[0], 0, self.outputs[-4:])
                self.assertEqual(snapshot.read_bytes(), content)


class DatasetTest(HubCase):
    def test_each_format_trains(self):
        table = io.StringIO()
        writer = csv.DictWriter(table, ["prompt", "response"])
        writer.writeheader()
        writer.writerows(pairs(20))
        columns = io.BytesIO()
        parquet.write_table(pyarrow.Table.from_pylist(pairs(20)), columns)
        chat = [{"messages": [{"role": "user", "content": pair["prompt"]},
                              {"role": "assistant", "content": pair["response"]}]} for pair in pairs(20)]
        expected = None
        for name, content, task in (
                ("train.jsonl", lines(pairs(20)), "INSTRUCTION_FINETUNE"),
                ("train/0000.parquet", columns.getvalue(), "INSTRUCTION_FINETUNE"),
                ("train.csv", table.getvalue().encode(), "INSTRUCTION_FINETUNE"),
                ("chat.train.json", lines(chat), "CHAT_COMPLETION"),
                ("train/a.txt", b"some text " * 200, "CONTINUED_PRETRAIN")):
            with self.subTest(name=name):
                self.hub.add("dataset", DATASET, {name: content, "test.jsonl": lines(pairs(3)), "README.md": b"#"})
                run = self.new_run(f"run-{name.replace('/', '-')}", model=MICRO, task_type=task,
                                   training_duration="1ba", train_data_path=f"{DATASET}/train")
                if name == "train.jsonl":
                    run.spec["eval_data_path"] = f"{DATASET}/test"
                status, events = self.train(run)
                self.assertEqual(status, 0, self.outputs[-4:])
                if name == "train.jsonl":
                    self.assertEqual(events[0]["eval_examples"], 3)
                    self.assertEqual(events[0]["eval_revision"], events[0]["train_revision"])
                if task == "INSTRUCTION_FINETUNE":
                    expected = expected or losses(events)
                    self.assertEqual(losses(events), expected)

    def test_a_fault_is_told_with_the_name_on_the_hub(self):
        repository = self.hub.add("dataset", "sums", {"train-1.jsonl": lines(pairs(9)), "train-2.jsonl": b"{}\n"})
        run = self.new_run(model=MICRO, train_data_path="sums/train")
        self.refused(run, 65, "UNKNOWN_EXAMPLE_TYPE")
        self.assertIn(f"sums@{repository.refs['main'][:8]}/train-2.jsonl:1", self.told["message"])

    def test_shards_come_in_order_and_revisions_are_their_own(self):
        old = {f"data/train-0000{n}-of-00003.jsonl": str(n).encode() for n in (2, 0, 1)}
        repository = self.hub.add("dataset", DATASET, old)
        commit = repository.refs["main"]
        repository.commit({"train.jsonl": b"new"})
        repository.commit({"train.jsonl": b"branch"}, "refs/convert/parquet")
        path, task = f"{DATASET}/train", "CHAT_COMPLETION"
        main, at_commit, branch, absent = self.find(
            (path, task), (f"{path}@{commit}", task), (f"{path}@refs/convert/parquet", task), (f"{path}@v2", task))
        self.assertEqual(main, [["train.jsonl", "new"]])
        self.assertEqual(at_commit, [[f"data/train-0000{n}-of-00003.jsonl", str(n)] for n in range(3)])
        self.assertEqual(branch, [["train.jsonl", "branch"]])
        self.assertEqual(absent[0::2], ["HUB_REVISION_NOT_FOUND", "user"])

    def test_wrong_ids_and_absent_splits_are_said_in_the_originals_words(self):
        self.hub.add("dataset", DATASET, {"train.jsonl": b"", "test.csv": b"", "valid.txt": b""})
        wrong = ("train", "a/b/c/d", "org/sums/", "org//train", "data/train.jsonl", "org/sums/train@", "../x/train",
                 "dbfs:/Volumes/x", "org/sums/train@a/../b")
        for path, (code, text, *_) in zip(wrong, self.find(*((path, "CHAT_COMPLETION") for path in wrong))):
            self.assertEqual(code, "INVALID_DATASET_ID", path)
            self.assertIn(f"Hugging Face dataset {path} must be in the format <dataset>/<split> or "
                          "<entity>/<dataset>/<split>.", text)
        self.assertEqual(self.hub.requests, [])
        absent, no_text, gone = self.find(("org/sums/validation", "CHAT_COMPLETION"),
                                          ("org/sums/train", "CONTINUED_PRETRAIN"),
                                          ("org/absent/train", "CHAT_COMPLETION"))
        self.assertEqual([absent[0], *absent[2:]], ["SPLIT_NOT_FOUND", "user", 78])
        self.assertIn("org/sums/validation: Split not found. It has test, train (", absent[1])
        self.assertIn("It has validation (", no_text[1])
        self.assertEqual(gone[0], "HUB_NOT_FOUND")

    def test_a_file_beyond_the_limit_is_not_fetched(self):
        self.hub.add("dataset", DATASET, {"train.jsonl": b"0123456789"})
        for self.hub.tells_sizes in (True, False):
            found, = self.find((f"{DATASET}/train", "CHAT_COMPLETION"), before="hub_dataset.MAX_FILE_BYTES = 9")
            self.assertEqual([found[0], *found[2:]], ["HUB_FILE_TOO_LARGE", "user", 65])
            self.assertEqual(self.hub.fetched(), [])
            shutil.rmtree(self.folder / "hf")
        found, = self.find((f"{DATASET}/train", "CHAT_COMPLETION"), before="hub_dataset.MAX_FILE_BYTES = 10")
        self.assertEqual(found, [["train.jsonl", "0123456789"]])

    def test_several_configurations_are_not_mixed(self):
        files = {"en/train.jsonl": b"en", "de/train.jsonl": b"de"}
        configs = [{"config_name": name, "data_files": f"{name}/*"} for name in ("de", "en")]
        repository = self.hub.add("dataset", DATASET, files, card={"configs": configs})
        wanted = (f"{DATASET}/train", "CHAT_COMPLETION")
        self.assertEqual(self.find(wanted)[0][0], "DATASET_CONFIG_NEEDED")
        configs[1]["default"] = True
        repository.commit({**files, "README.md": b"default: en"})
        self.assertEqual(self.find(wanted)[0], [["en/train.jsonl", "en"]])


class SplitsTest(unittest.TestCase):
    def test_names_of_files_and_folders_mean_splits(self):
        for names, expected in (
                (["train.jsonl", "test.csv"], {"train": ["train.jsonl"], "test": ["test.csv"]}),
                (["data/train_sft-00000-of-00001-a1b2.parquet", "data/test_sft-00000-of-00001.parquet", "x.csv"],
                 {"train_sft": ["data/train_sft-00000-of-00001-a1b2.parquet"],
                  "test_sft": ["data/test_sft-00000-of-00001.parquet"]}),
                (["train/1.csv", "eval/train.csv"], {"train": ["train/1.csv"], "test": ["eval/train.csv"]}),
                (["my-dev_set.csv", "a.training.csv"], {"validation": ["my-dev_set.csv"], "train": ["a.training.csv"]}),
                (["trainer.csv", "contest.csv"], {"train": ["trainer.csv", "contest.csv"]}),
                ([], {})):
            self.assertEqual(hub_dataset.splits(names), expected)

    def test_the_card_comes_first(self):
        names = ["a/x.csv", "a/b/y.csv", "z.csv"]
        for data_files, expected in (
                ([{"split": "train", "path": "a/*.csv"}, {"split": "best", "path": ["z.csv", "a/**/y.csv"]}],
                 {"train": ["a/x.csv"], "best": ["a/b/y.csv", "z.csv"]}),
                ("**", {"train": sorted(names)}), (["z.c?v"], {"train": ["z.csv"]})):
            self.assertEqual(hub_dataset.splits(names, {"data_files": data_files}), expected)
        for config, expected in (({"data_dir": "a/b", "data_files": "*.csv"}, {"train": ["a/b/y.csv"]}),
                                 ({"data_dir": "a/b"}, {"train": ["a/b/y.csv"]})):
            self.assertEqual(hub_dataset.splits(names, config), expected)


class ExplainTest(unittest.TestCase):
    subject = hub_errors.Subject("model", "org/tiny", "main", "model")

    def test_errors_of_the_disk(self):
        for number, code in ((errno.ENOSPC, "HUB_DISK_FULL"), (errno.EDQUOT, "HUB_DISK_FULL"),
                             (errno.EACCES, "HUB_CACHE_UNUSABLE")):
            told = hub_errors.explain(OSError(number, os.strerror(number), "/cache"), self.subject)
            self.assertEqual((told.code, told.attribution, told.exit_status), (code, "infrastructure", 75))

    def test_the_unexpected_says_no_more_than_its_kind(self):
        told = hub_errors.explain(KeyError("Bearer hf_secret"), self.subject)
        self.assertEqual((told.code, told.attribution, told.exit_status), ("HUB_FAILED", "internal", 1))
        self.assertNotIn("secret", told.message)


if __name__ == "__main__":
    unittest.main()
