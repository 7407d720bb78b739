"""An attempt in this process: what it reports, what it saves, and that a resumed run is exact."""

import json
import os
from pathlib import Path

from trainer import weights
from trainer.errors import EXIT_CONFIG, EXIT_DATA, EXIT_STOPPED, TrainerError
from trainer.llama import LlamaConfig
from trainer.testing import FolderCase, RunFolder, of_type, pairs, write_lines

PAUSE_AT = 4  # of 9 batches, in the middle of the second epoch


class ReportTest(FolderCase):
    def test_events_of_a_run(self):
        run = RunFolder(self.folder / "run", training_duration="2ep", eval_prompts=["1 plus 1?"])
        run.spec["eval_data_path"] = write_lines(self.folder / "eval.jsonl", pairs(3))
        status, events = run.attempt()
        self.assertEqual(status, 0)
        kinds = [event["type"] for event in events]
        epoch = ["progress"] * 3 + ["eval", "eval_prompt", "checkpoint"]
        self.assertEqual(kinds, ["data_validated", "model_initialized", "eval", "eval_prompt",
                                 *epoch, *epoch[:-1], "train_finished", "checkpoint"])
        self.assertEqual([event["when"] for event in of_type(events, "eval")],
                         ["before", "checkpoint", "after"])
        progress = of_type(events, "progress")
        self.assertEqual([(p["epoch"], p["batch"], p["step"]) for p in progress],
                         [(1, 1, 1), (1, 2, 2), (1, 3, 3), (2, 1, 4), (2, 2, 5), (2, 3, 6)])
        self.assertEqual({(p["epochs"], p["batches"], p["total_batches"]) for p in progress},
                         {(2, 3, 6)})
        self.assertEqual(progress[-1]["tokens"], 2 * events[0]["tokens"])
        self.assertEqual((events[0]["examples"], events[0]["eval_examples"]), (20, 3))
        saved = of_type(events, "checkpoint")
        self.assertEqual([(c["path"], c["huggingface"]) for c in saved],
                         [("ep1-ba3", "huggingface/ba3"), ("ep2-ba6", "huggingface/ba6")])
        self.assertIn("eval/loss", saved[-1]["metrics"])
        losses = [event["metrics"]["eval/loss"] for event in of_type(events, "eval")]
        self.assertLess(losses[-1], losses[0])

    def test_checkpoint_layout(self):
        run = RunFolder(self.folder / "run", training_duration="4ba")
        run.attempt()
        main, export = run.checkpoints / "ep1-ba4", run.checkpoints / "huggingface" / "ba4"
        model = {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json",
                 "tokenizer_config.json", "special_tokens_map.json"}
        self.assertEqual(set(os.listdir(export)), model)
        self.assertEqual(set(os.listdir(main)),
                         model | {"optimizer.safetensors", "trainer_state.json"})
        self.assertTrue(os.path.samefile(main / "model.safetensors", export / "model.safetensors"))
        state = json.loads((main / "trainer_state.json").read_text())
        self.assertEqual((state["epoch"], state["step"]), (1, 4))
        self.assertEqual(sorted(os.listdir(run.checkpoints)), ["ep1-ba3", "ep1-ba4", "huggingface"])

    def test_the_agent_may_move_a_checkpoint_away_at_once(self):
        run = RunFolder(self.folder / "run", training_duration="4ba", save_interval="1ba")
        published = self.folder / "published"
        published.mkdir()

        def publish(event):
            if event["type"] == "checkpoint":
                (run.checkpoints / event["path"]).rename(published / event["path"])

        self.assertEqual(run.attempt(publish)[0], 0)
        self.assertEqual(sorted(os.listdir(published)),
                         ["ep0-ba1", "ep0-ba2", "ep1-ba3", "ep1-ba4"])

    def test_custom_weights_by_folder_export_and_latest_file(self):
        first = RunFolder(self.folder / "first")
        first.attempt()
        latest = first.checkpoints / "latest-sharded-rank0.symlink"
        latest.write_text("ep1-ba3")
        starts = set()
        for path in (first.checkpoints / "ep1-ba3", first.checkpoints / "huggingface" / "ba3",
                     latest):
            second = RunFolder(self.folder / f"from-{path.name}", custom_weights_path=str(path),
                               training_duration="1ba")
            starts.add(of_type(second.attempt()[1], "progress")[0]["metrics"]["train/loss"])
        self.assertEqual(len(starts), 1)
        fresh = RunFolder(self.folder / "fresh", training_duration="1ba")
        loss = of_type(fresh.attempt()[1], "progress")[0]["metrics"]["train/loss"]
        self.assertLess(starts.pop(), loss)

    def test_custom_weights_that_cannot_be_used(self):
        latest = self.folder / "latest-sharded-rank0.symlink"
        latest.write_text("../elsewhere")
        for path in (latest, self.folder, self.folder / "absent"):
            run = RunFolder(self.folder / f"run-{path.name}", custom_weights_path=str(path))
            with self.assertRaises(TrainerError) as caught:
                run.attempt()
            self.assertEqual(caught.exception.code, "INVALID_CUSTOM_WEIGHTS")

    def test_a_loss_that_is_not_finite_stops_the_run(self):
        healthy = RunFolder(self.folder / "healthy", training_duration="1ba")
        healthy.attempt()
        folder = healthy.checkpoints / "huggingface" / "ba1"
        tensors = weights.load_tensors(folder / weights.SINGLE)
        tensors["model.norm.weight"].fill_(float("nan"))
        (folder / weights.SINGLE).write_bytes(weights.encode(tensors))
        run = RunFolder(self.folder / "run", custom_weights_path=str(folder))
        with self.assertRaises(TrainerError) as caught:
            run.attempt()
        self.assertEqual(caught.exception.code, "LOSS_SPIKE")
        self.assertEqual(caught.exception.exit_status, EXIT_DATA)
        self.assertRegex(caught.exception.message,
                         "^Training stopped due to a loss spike. .*Please try submitting the run "
                         "again with a lower learning rate.$")

    def test_models_that_cannot_be_trained(self):
        for change, word in (({"architectures": ["GPT2LMHeadModel"]}, "architectures"),
                             ({"rope_scaling": {"type": "linear", "factor": 2.0}}, "rope_scaling"),
                             ({"attention_bias": True}, "attention_bias"),
                             ({"hidden_act": "gelu"}, "hidden_act"), ({"vocab_size": 9}, "vocab"),
                             ({"num_key_value_heads": 3}, "num_key_value_heads"),
                             ({"rope_parameters": {"rope_theta": 1e4, "rope_type": "llama3", "factor": 8}},
                              "rope_parameters"),
                             ({"rope_parameters": [1]}, "rope_parameters")):
            with self.subTest(change=change):
                run = RunFolder(self.folder / str(len(os.listdir(self.folder))))
                path = run.models / "test" / "micro" / "config.json"
                path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
                with self.assertRaises(TrainerError) as caught:
                    run.attempt()
                self.assertEqual(caught.exception.code, "UNSUPPORTED_MODEL")
                self.assertIn(word, caught.exception.message)

    def test_the_rotary_base_is_read_where_either_transformers_writes_it(self):
        config = json.loads((RunFolder(self.folder / "run").models / "test" / "micro" / "config.json").read_text())
        parameters = {"rope_theta": 500.0, "rope_type": "default"}
        config.pop("rope_scaling", None)
        for written, expected in ((config, 10000.0), ({**config, "rope_theta": 400.0}, 400.0),
                                  ({**config, "rope_parameters": parameters}, 500.0)):
            self.assertEqual(LlamaConfig.from_json("m", written).rope_theta, expected)

    def test_weights_that_are_pickled_broken_or_missing(self):
        def pickled(folder: Path) -> None:
            (folder / "catalogue.json").unlink()
            (folder / "pytorch_model.bin").write_bytes(b"\x80\x04.")

        def none(folder: Path) -> None:
            (folder / "catalogue.json").unlink()

        def cut(folder: Path) -> None:
            (folder / weights.SINGLE).write_bytes((1000).to_bytes(8, "little") + b"{")

        def shard(folder: Path) -> None:
            (folder / weights.INDEX).write_text('{"weight_map": {"model.norm.weight": "model-00002.safetensors"}}')

        def outside(folder: Path) -> None:
            (folder / weights.INDEX).write_text('{"weight_map": {"model.norm.weight": "../../secret"}}')

        for damage, code, word in ((pickled, "PICKLED_WEIGHTS", "safetensors"), (none, "MODEL_WITHOUT_WEIGHTS", "init_seed"),
                                   (cut, "INVALID_WEIGHTS", "Copy it anew"),
                                   (shard, "INVALID_WEIGHTS", "model-00002.safetensors"),
                                   (outside, "INVALID_WEIGHTS", "outside its folder")):
            with self.subTest(damage=damage.__name__):
                run = RunFolder(self.folder / damage.__name__)
                damage(run.models / "test" / "micro")
                with self.assertRaises(TrainerError) as caught:
                    run.attempt()
                self.assertEqual((caught.exception.code, caught.exception.exit_status), (code, EXIT_CONFIG))
                self.assertIn(word, caught.exception.message)

    def test_specs_that_do_not_fit_the_model(self):
        for change, code in (({"model": "test/absent"}, "UNKNOWN_MODEL"),
                             ({"model": "../../etc"}, "UNKNOWN_MODEL"),
                             ({"context_length": 65}, "INVALID_SPEC")):
            run = RunFolder(self.folder / str(len(os.listdir(self.folder))), **change)
            with self.assertRaises(TrainerError) as caught:
                run.attempt()
            self.assertEqual(caught.exception.code, code)


class ResumeTest(FolderCase):
    def pause(self, run, kind="pause"):
        def on_event(event):
            if event["type"] == "progress" and event["step"] == PAUSE_AT:
                run.ask(stop=kind)

        status, events = run.attempt(on_event)
        self.assertEqual(status, EXIT_STOPPED)
        run.ask(stop=None)
        return events

    def test_a_resumed_run_ends_with_the_same_bytes(self):
        through = RunFolder(self.folder / "through", training_duration="3ep")
        _, expected = through.attempt()
        paused = RunFolder(self.folder / "paused", training_duration="3ep")
        before = self.pause(paused)
        self.assertEqual([e["type"] for e in before[-2:]], ["checkpoint", "preempt_ack"])
        self.assertEqual(before[-1]["checkpoint"], "ep1-ba4")
        status, after = paused.attempt(resume_from=paused.checkpoints / "ep1-ba4")
        self.assertEqual(status, 0)
        self.assertEqual((of_type(after, "resumed")[0]["step"], of_type(after, "eval")), (4, []))
        self.assertEqual(of_type(after, "resumed")[0]["tokens"],
                         [e for e in of_type(before, "progress") if e["step"] == 4][-1]["tokens"])

        for name in ("model.safetensors", "optimizer.safetensors", "trainer_state.json"):
            self.assertEqual((through.checkpoints / "ep3-ba9" / name).read_bytes(),
                             (paused.checkpoints / "ep3-ba9" / name).read_bytes(), name)
        self.assertEqual(self.steps(before) + self.steps(after), self.steps(expected))

    def steps(self, events):
        return [(e["step"], e["tokens"], e["metrics"]["train/loss"], e["metrics"]["lr"])
                for e in of_type(events, "progress")]

    def test_resuming_does_not_need_the_weights_a_run_began_with(self):
        run = RunFolder(self.folder / "run", training_duration="3ep")
        other = RunFolder(self.folder / "other")
        other.attempt()
        run.spec["custom_weights_path"] = str(other.checkpoints / "ep1-ba3")
        self.pause(run)
        run.spec["custom_weights_path"] = "/gone"
        self.assertEqual(run.attempt(resume_from=run.checkpoints / "ep1-ba4")[0], 0)

    def test_cancel_saves_nothing(self):
        run = RunFolder(self.folder / "run", training_duration="3ep", save_interval="9ep")
        events = self.pause(run, "cancel")
        self.assertEqual(events[-1], {"type": "preempt_ack", "checkpoint": None})
        self.assertEqual(of_type(events, "checkpoint"), [])

    def test_a_stop_before_the_first_batch_has_nothing_to_save(self):
        run = RunFolder(self.folder / "run")
        run.ask(stop="preempt")
        status, events = run.attempt()
        self.assertEqual((status, events[-1]), (EXIT_STOPPED, {"type": "preempt_ack",
                                                               "checkpoint": None}))
        self.assertEqual(of_type(events, "progress") + of_type(events, "checkpoint"), [])

    def test_a_finished_checkpoint_resumes_into_the_end(self):
        run = RunFolder(self.folder / "run")
        run.attempt()
        status, events = run.attempt(resume_from=run.checkpoints / "ep1-ba3")
        self.assertEqual(status, 0)
        self.assertEqual([e["type"] for e in events[2:]], ["resumed", "train_finished"])

    def test_refuses_to_resume_what_does_not_fit(self):
        run = RunFolder(self.folder / "run", training_duration="3ep")
        self.pause(run)
        folder = run.checkpoints / "ep1-ba4"
        good = dict(run.spec)
        other_data = write_lines(self.folder / "other.jsonl", pairs(21))
        for change, word in (({"learning_rate": 0.02}, "another specification"),
                             ({"train_data_path": other_data}, "data have changed")):
            run.spec = {**good, **change}
            self.refused(run, folder, word)
        run.spec = good
        (folder / "optimizer.safetensors").write_bytes(b"cut")
        self.refused(run, folder, "optimizer.safetensors", "CHECKPOINT_DAMAGED")
        (folder / "trainer_state.json").write_text("{}")
        self.refused(run, folder, "trainer_state.json cannot be read", "CHECKPOINT_DAMAGED")

    def refused(self, run, folder, word, code="CANNOT_RESUME"):
        with self.assertRaises(TrainerError) as caught:
            run.attempt(resume_from=folder)
        self.assertEqual(caught.exception.code, code)
        self.assertIn(word, caught.exception.message)
