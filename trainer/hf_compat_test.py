"""Holds the model, its tokenizer and its files against transformers and PEFT."""

import json
import os
import shutil

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from peft import PeftModel
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

from trainer import catalogue, make_tiny_llama, weights
from trainer.environment import PACKAGED_MODELS
from trainer.testing import MICRO, TINY, FolderCase, RunFolder, make_model
from trainer.tokenizer import ModelTokenizer

MESSAGES = [{"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Grüß dich! 😀"},
            {"role": "assistant", "content": "Hi.\n"}]


def logits_of(folder, ids):
    with torch.no_grad():
        return AutoModelForCausalLM.from_pretrained(folder, torch_dtype=torch.float32)(ids).logits


class TransformersTest(FolderCase):
    ids = torch.arange(2 * 48).view(2, 48) * 7 % 264

    def assert_same_logits(self, model, folder):
        with torch.no_grad():
            mine = model(self.ids)
        torch.testing.assert_close(mine, logits_of(folder, self.ids), atol=1e-5, rtol=1e-5)

    def test_an_exported_run_loads_and_agrees(self):
        for number, shape in enumerate(({}, {"tie_word_embeddings": False},
                                        {"num_key_value_heads": 4, "rope_theta": 500.0})):
            with self.subTest(shape=shape):
                run = RunFolder(self.folder / str(number))
                config = run.models / MICRO / "config.json"
                config.write_text(json.dumps({**json.loads(config.read_text()), **shape}))
                run.attempt()
                base = catalogue.find(MICRO, (run.models,))
                for folder in (run.checkpoints / "huggingface" / "ba3",
                               run.checkpoints / "ep1-ba3"):
                    self.assert_same_logits(base.load(folder), folder)

    def test_reads_what_transformers_writes_also_in_shards_and_half_precision(self):
        for dtype, size, shards in ((torch.float32, "10KB", True), (torch.bfloat16, "1GB", False)):
            with self.subTest(dtype=dtype):
                root = self.folder / str(dtype)
                folder = make_model(root)
                theirs = LlamaForCausalLM(AutoConfig.from_pretrained(folder)).to(dtype)
                theirs.save_pretrained(folder, max_shard_size=size)
                self.assertEqual((folder / weights.INDEX).exists(), shards)
                self.assert_same_logits(catalogue.find(MICRO, (root,)).load(None), folder)

    def test_adapters_load_with_peft_and_agree_with_their_merge(self):
        recipe = {"lora": {"rank": 3, "alpha": 7.5, "target_modules": ["q_proj", "down_proj"]}}
        run = RunFolder(self.folder / "run", recipe=recipe)
        run.attempt()
        base = catalogue.find(MICRO, (run.models,))
        plain = self.folder / "plain"  # transformers needs a folder with the base model's weights
        shutil.copytree(base.folder, plain)
        model = base.load(None)
        (plain / weights.SINGLE).write_bytes(weights.encode(dict(model.named_parameters())))
        theirs = PeftModel.from_pretrained(
            AutoModelForCausalLM.from_pretrained(plain, torch_dtype=torch.float32),
            run.checkpoints / "ep1-ba3")
        with torch.no_grad():
            adapted = theirs(self.ids).logits
            self.assertFalse(torch.allclose(adapted, model(self.ids), atol=1e-3))
            merged = theirs.merge_and_unload()(self.ids).logits
        mine = logits_of(run.checkpoints / "huggingface" / "ba3", self.ids)
        torch.testing.assert_close(mine, adapted, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(mine, merged, atol=1e-5, rtol=1e-5)

    def test_the_tokenizer_agrees(self):
        theirs, mine = AutoTokenizer.from_pretrained(TINY), ModelTokenizer(TINY, 264)
        for text in ("", "plain text", "Grüß dich! 😀\n\n\x00\x7f", "<|user|>"):
            self.assertEqual(theirs(text)["input_ids"], mine.prefix + mine.encode(text))
            self.assertEqual(theirs.decode(mine.encode(text), skip_special_tokens=True),
                             mine.decode(mine.encode(text)))
        ids, start = mine.encode_chat(MESSAGES)
        self.assertEqual(theirs.apply_chat_template(MESSAGES), ids)
        self.assertEqual(theirs.apply_chat_template(MESSAGES[:-1], add_generation_prompt=True),
                         ids[:start])


class CatalogueTest(FolderCase):
    def test_the_files_of_tiny_llama_are_what_the_generator_writes(self):
        for name, text in make_tiny_llama.files().items():
            self.assertEqual((TINY / name).read_text("utf-8"), text, name)

    def test_its_description_is_true_and_its_weights_come_from_the_seed(self):
        described = json.loads((TINY / "catalogue.json").read_text())
        base = catalogue.find(make_tiny_llama.NAME, (PACKAGED_MODELS,))
        first, second = base.load(None), base.load(None)
        self.assertEqual(sum(p.numel() for p in first.parameters()), described["parameters"])
        self.assertEqual(described["context_length"], base.config.context_length)
        for one, other in zip(first.parameters(), second.parameters()):
            self.assertTrue(torch.equal(one, other))
