import unittest

from trainer import recipe, spec
from trainer.errors import TrainerError
from trainer.recipe import LORA_TARGETS, Lora, Recipe


class RecipeTest(unittest.TestCase):
    def test_defaults(self):
        unset = {"batch_size": 0, "schedule": "SCHEDULE_UNSPECIFIED", "packing": False, "seed": 0,
                 "optimizer": "OPTIMIZER_UNSPECIFIED", "precision": "PRECISION_UNSPECIFIED"}
        for given in (None, {}, unset):
            self.assertEqual(recipe.parse(given), Recipe())
        self.assertEqual(recipe.parse({"lora": {}}).lora, Lora(16, 32.0, 0.0, LORA_TARGETS))

    def test_reads_what_is_given_also_in_camel_case(self):
        read = spec.parse({"model": "a/b", "trainDataPath": "/d.jsonl", "recipe": {
            "batchSize": 32, "microBatchSize": 4, "schedule": "COSINE", "warmUpFraction": 0,
            "optimizer": "ADAMW", "weightDecay": 0.1, "maxGradientNorm": 0, "precision": "BFLOAT16",
            "packing": True, "seed": 5,
            "lora": {"rank": 4, "alpha": 4, "dropout": 0.5, "targetModules": ["v_proj", "q_proj"]}}})
        self.assertEqual(read.recipe, Recipe(32, 4, "COSINE", 0.0, "ADAMW", 0.1, 0.0, "BFLOAT16",
                                             True, Lora(4, 4.0, 0.5, ("q_proj", "v_proj")), 5))

    def test_the_micro_batch_is_the_batch_where_none_is_given(self):
        self.assertEqual(recipe.parse({"batch_size": 3}).micro_batch_size, 3)

    def test_refuses(self):
        for wrong, field in (({"batch_size": -1}, "batch_size"), ({"batch_size": 1.5}, "batch_size"),
                             ({"batch_size": "many"}, "batch_size"),
                             ({"batch_size": 4, "micro_batch_size": 8}, "micro_batch_size"),
                             ({"schedule": "STEP"}, "schedule"), ({"schedule": 2}, "schedule"),
                             ({"warm_up_fraction": 1.1}, "warm_up_fraction"),
                             ({"warm_up_fraction": "NaN"}, "warm_up_fraction"),
                             ({"optimizer": "SGD"}, "optimizer"),
                             ({"weight_decay": -0.1}, "weight_decay"),
                             ({"precision": "INT4"}, "precision"), ({"packing": 1}, "packing"),
                             ({"seed": 2**31}, "seed"), ({"lora": 3}, "lora"),
                             ({"lora": {"rank": 4096}}, "lora.rank"),
                             ({"lora": {"dropout": 1}}, "lora.dropout"),
                             ({"lora": {"target_modules": ["lm_head"]}}, "lora.target_modules"),
                             ({"lora": {"target_modules": "q_proj"}}, "lora.target_modules")):
            with self.subTest(wrong=wrong), self.assertRaises(TrainerError) as caught:
                recipe.parse(wrong)
            self.assertEqual(caught.exception.details["field"], "recipe." + field)
