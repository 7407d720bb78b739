import unittest

from trainer import durations
from trainer.errors import EXIT_CONFIG, TrainerError


class DurationsTest(unittest.TestCase):
    def test_reads_every_unit(self):
        for text, value, unit in (("1ep", 1, "ep"), ("30ba", 30, "ba"), ("10000tok", 10000, "tok"),
                                  ("999999999999999tok", 999999999999999, "tok")):
            self.assertEqual(durations.parse(text, "training_duration"),
                             durations.Duration(value, unit))
            self.assertEqual(str(durations.parse(text, "training_duration")), text)

    def test_refuses_everything_else(self):
        for text in ("", "1", "ep", "0ep", "01ep", "-1ep", "1.5ep", "1 ep", "1EP", "1ep\n", "1_0ba",
                     "1e3tok", "1000000000000000tok", "\u0661ep", 1, None, ["1ep"]):
            with self.subTest(text=text), self.assertRaises(TrainerError) as caught:
                durations.parse(text, "save_interval")
            self.assertEqual(caught.exception.code, "INVALID_DURATION")
            self.assertEqual(caught.exception.exit_status, EXIT_CONFIG)
            self.assertIn(f"save_interval: Invalid time string: {text}", caught.exception.message)
