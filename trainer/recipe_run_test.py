"""What a recipe does to a run: adapters, packing, accumulation, precision, each resumed exactly."""

import json
import os
import unittest

import torch

from trainer import catalogue, llama, lora, weights
from trainer.errors import EXIT_STOPPED, TrainerError
from trainer.testing import MICRO, FolderCase, RunFolder, of_type, pairs, write_lines

LORA = {"rank": 4, "dropout": 0.2}


def losses(events):
    return [event["metrics"]["train/loss"] for event in of_type(events, "progress")]


class RecipeRunTest(FolderCase):
    def run_with(self, name, **spec):
        run = RunFolder(self.folder / name, **{"training_duration": "3ep", **spec})
        return run, run.attempt()[1]

    def test_every_recipe_resumes_exactly(self):
        for name, recipe in (
                ("adamw", {"optimizer": "ADAMW", "weight_decay": 0.1, "schedule": "COSINE"}),
                ("lora", {"lora": LORA}), ("packed", {"packing": True, "batch_size": 2}),
                ("accumulated", {"batch_size": 8, "micro_batch_size": 3, "seed": 99}),
                ("bfloat16", {"precision": "BFLOAT16", "lora": {}})):
            with self.subTest(name=name):
                through, expected = self.run_with(name, recipe=recipe)
                paused = RunFolder(self.folder / f"{name}-paused", training_duration="3ep",
                                   recipe=recipe)

                def pause(event):
                    if event["type"] == "progress" and event["step"] == 4:
                        paused.ask(stop="pause")

                status, before = paused.attempt(pause)
                self.assertEqual(status, EXIT_STOPPED)
                paused.ask(stop=None)
                newest = before[-1]["checkpoint"]
                status, after = paused.attempt(resume_from=paused.checkpoints / newest)
                self.assertEqual(status, 0)
                self.assertEqual(losses(before) + losses(after), losses(expected))
                last = of_type(expected, "checkpoint")[-1]
                for folder in (last["path"], last["huggingface"]):
                    names = sorted(os.listdir(through.checkpoints / folder))
                    self.assertEqual(names, sorted(os.listdir(paused.checkpoints / folder)))
                    for file in names:
                        self.assertEqual((through.checkpoints / folder / file).read_bytes(),
                                         (paused.checkpoints / folder / file).read_bytes(), file)

    def test_adapters_learn_and_nothing_else_does(self):
        run, events = self.run_with("run", recipe={"lora": LORA, "seed": 3})
        self.assertLess(losses(events)[-1], losses(events)[0])
        folder = run.checkpoints / "ep3-ba9"
        self.assertEqual(
            {"adapter_config.json", "adapter_model.safetensors", "optimizer.safetensors",
             "trainer_state.json", "tokenizer.json", "tokenizer_config.json",
             "special_tokens_map.json"}, set(os.listdir(folder)))
        base = catalogue.find(MICRO, (run.models,)).load(None)
        merged = weights.load_tensors(run.checkpoints / "huggingface" / "ba9" / weights.SINGLE)
        for name, tensor in base.named_parameters():
            learned = name.split(".")[-2] in ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj",
                                              "up_proj", "down_proj")
            self.assertEqual(torch.equal(tensor, merged[name]), not learned, name)

    def test_a_run_goes_on_from_the_merged_weights_of_adapters(self):
        first, _ = self.run_with("first", recipe={"lora": LORA})
        full = first.checkpoints / "huggingface" / "ba9"
        for number, path in enumerate((first.checkpoints / "ep3-ba9", full)):
            second, events = self.run_with(f"second-{number}", custom_weights_path=str(path),
                                           training_duration="1ba", recipe={"lora": {}})
            if number == 0:
                expected = losses(events)
            self.assertEqual(losses(events), expected)
            adapters = json.loads(next(second.checkpoints.glob("ep*-ba1")).joinpath(lora.CONFIG).read_text())
            self.assertEqual((adapters["base_model_name_or_path"], adapters["revision"]), (str(full), None))
        os.rename(full, self.folder / "away")
        third = RunFolder(self.folder / "third",
                          custom_weights_path=str(first.checkpoints / "ep3-ba9"))
        with self.assertRaises(TrainerError) as caught:
            third.attempt()
        self.assertIn("holds adapters", caught.exception.message)

    def test_adapters_are_not_resumed_beside_other_weights(self):
        run, _ = self.run_with("run", recipe={"lora": LORA})
        path = run.models / MICRO / "catalogue.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "init_seed": 12345}))
        with self.assertRaises(TrainerError) as caught:
            run.attempt(resume_from=run.checkpoints / "ep1-ba3")
        self.assertEqual(caught.exception.code, "CANNOT_RESUME")
        self.assertIn("base model's weights have changed", caught.exception.message)

    def test_accumulation_changes_only_the_rounding(self):
        _, whole = self.run_with("whole", recipe={"precision": "FLOAT32"})
        _, parts = self.run_with("parts", recipe={"micro_batch_size": 3, "precision": "FLOAT32"})
        torch.testing.assert_close(torch.tensor(losses(parts)[:3]), torch.tensor(losses(whole)[:3]),
                                   atol=1e-4, rtol=1e-4)

    def test_packing_changes_rows_and_not_what_a_sample_teaches(self):
        spec = {"train_data_path": write_lines(self.folder / "p.jsonl", pairs(8)),
                "training_duration": "1ep"}
        plain, plain_events = self.run_with("plain", **spec, recipe={"precision": "FLOAT32"})
        packed, packed_events = self.run_with("packed", **spec, recipe={"packing": True, "precision": "FLOAT32"})
        rows = of_type(packed_events, "data_validated")[0]["rows"]
        self.assertLess(rows, of_type(plain_events, "data_validated")[0]["rows"])
        self.assertEqual(len(losses(packed_events)), 1)  # all 8 samples in one batch, as before
        self.assertAlmostEqual(losses(packed_events)[0], losses(plain_events)[0], places=4)

    def test_bfloat16_is_near_and_not_the_same(self):
        _, exact = self.run_with("exact", training_duration="1ba", recipe={"precision": "FLOAT32"})
        _, near = self.run_with("near", training_duration="1ba", recipe={"precision": "BFLOAT16"})
        self.assertEqual(of_type(near, "model_initialized")[0]["precision"], "BFLOAT16")
        self.assertNotEqual(losses(near), losses(exact))
        self.assertAlmostEqual(losses(near)[0], losses(exact)[0], places=1)

    def test_a_run_goes_on_where_the_device_means_another_precision(self):
        run, _ = self.run_with("run", save_interval="1ba")
        run.spec["recipe"] = {"precision": "BFLOAT16"}  # as AUTO is on a GPU
        status, events = run.attempt(resume_from=run.checkpoints / "ep1-ba3")
        self.assertEqual(status, 0)
        self.assertEqual(of_type(events, "resumed")[0]["step"], 3)

    @unittest.skipUnless(hasattr(torch.nn.functional, "scaled_dot_product_attention"), "torch 1 has no such kernel")
    def test_the_fused_attention_of_gpus_computes_the_same(self):
        generator = torch.Generator().manual_seed(1)
        q, k, v = (torch.randn(2, 3, 8, 4, generator=generator) for _ in range(3))
        ids = torch.zeros(2, 8, dtype=torch.long)
        segments = torch.tensor([[1, 1, 1, 2, 2, 2, 2, 0], [1] * 8])
        for mask, fused_mask in ((llama._causal_mask(ids, None), None),
                                 (llama._causal_mask(ids, segments), llama._causal_mask(ids, segments))):
            torch.testing.assert_close(llama._attend_fused(q, k, v, fused_mask), llama._attend(q, k, v, mask))

    def test_a_recipe_with_another_seed_shuffles_otherwise(self):
        _, one = self.run_with("one")
        _, other = self.run_with("other", recipe={"seed": 18})
        self.assertNotEqual(losses(one), losses(other))

    def test_batch_size_is_the_least_number_of_samples(self):
        run = RunFolder(self.folder / "run", recipe={"batch_size": 21})
        with self.assertRaises(TrainerError) as caught:
            run.attempt()
        self.assertEqual(caught.exception.code, "NOT_ENOUGH_SAMPLES")


class LoraLinearTest(FolderCase):
    def test_merging_computes_the_same(self):
        from trainer.recipe import Lora

        plain = torch.nn.Linear(6, 5, bias=False)
        layer = lora.LoraLinear(plain, Lora(rank=2, alpha=3.0)).eval()
        torch.nn.init.normal_(layer.lora_A)
        torch.nn.init.normal_(layer.lora_B)
        x = torch.randn(4, 6)
        torch.testing.assert_close(layer(x), torch.nn.functional.linear(x, layer.merged()))
