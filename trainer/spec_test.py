import unittest

from trainer import spec
from trainer.errors import TrainerError

LEAST = {"model": "a/b", "train_data_path": "/d.jsonl"}


class SpecTest(unittest.TestCase):
    def test_defaults_are_those_of_the_public_api(self):
        read = spec.parse(LEAST)
        self.assertEqual(read.task_type, "CHAT_COMPLETION")
        self.assertEqual(read.learning_rate, 5e-7)
        self.assertEqual((str(read.training_duration), str(read.save_interval)), ("1ep", "1ep"))
        self.assertIsNone(read.context_length)
        self.assertIsNone(read.eval_data_path)

    def test_camel_case_strings_for_numbers_and_unknown_keys(self):
        read = spec.parse({"model": "a/b", "trainDataPath": "/d.jsonl", "contextLength": "128",
                           "trainingDuration": "3ba", "taskType": "CONTINUED_PRETRAIN",
                           "evalPrompts": ["x"], "learningRate": 1e-3, "fromTheFuture": {}})
        self.assertEqual(read.context_length, 128)
        self.assertEqual(str(read.training_duration), "3ba")
        self.assertEqual(read.eval_prompts, ("x",))
        self.assertEqual(read.learning_rate, 1e-3)

    def test_values_printed_as_unset_take_their_default(self):
        read = spec.parse({**LEAST, "learning_rate": 0, "context_length": 0,
                           "training_duration": "", "eval_data_path": "",
                           "task_type": "TASK_TYPE_UNSPECIFIED"})
        self.assertEqual(read, spec.parse(LEAST))

    def test_refuses(self):
        for wrong, field in (({"model": 3}, "model"),
                             ({"train_data_path": None}, "train_data_path"),
                             ({"task_type": "SFT"}, "task_type"),
                             ({"learning_rate": "fast"}, "learning_rate"),
                             ({"learning_rate": "NaN"}, "learning_rate"),
                             ({"learning_rate": -1}, "learning_rate"),
                             ({"learning_rate": True}, "learning_rate"),
                             ({"context_length": 1.5}, "context_length"),
                             ({"context_length": 4}, "context_length"),
                             ({"context_length": -128}, "context_length"),
                             ({"eval_prompts": "x"}, "eval_prompts")):
            with self.subTest(wrong=wrong), self.assertRaises(TrainerError) as caught:
                spec.parse({**LEAST, **wrong})
            self.assertEqual(caught.exception.details["field"], field)
