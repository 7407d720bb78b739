import json
import unittest

from trainer.errors import EXIT_DATA, TrainerError
from trainer.loss_guard import LossGuard


def feed(guard, losses, first=1):
    for batch, loss in enumerate(losses, first):
        guard.see(loss, batch)


class LossGuardTest(unittest.TestCase):
    def refused(self, guard, losses, first=1):
        with self.assertRaises(TrainerError) as caught:
            feed(guard, losses, first)
        self.assertEqual(caught.exception.exit_status, EXIT_DATA)
        self.assertTrue(caught.exception.message.endswith(
            "Please try submitting the run again with a lower learning rate."))
        return caught.exception

    def test_a_spike_that_lasts_ends_the_run(self):
        error = self.refused(LossGuard(1000), [2.0] * 150 + [5.0] * 5)
        self.assertEqual(error.code, "LOSS_SPIKE")
        self.assertTrue(error.message.startswith("Training stopped due to a loss spike. "))
        self.assertIn("at batch 155", error.message)

    def test_shorter_spikes_and_noise_do_not(self):
        feed(LossGuard(1000), [2.0] * 150 + ([5.0] * 4 + [2.0] * 5) * 40)

    def test_the_first_window_is_left_alone(self):
        feed(LossGuard(1000), [1.0] * 10 + [9.0] * 90)

    def test_a_loss_that_rises_above_its_beginning_ends_the_run(self):
        error = self.refused(LossGuard(1000), [4.0] * 100 + [5.0] * 300)
        self.assertEqual(error.code, "HIGH_LOSS")
        self.assertIn("batch 200", error.message)
        self.assertEqual(self.refused(LossGuard(1000), [11.0] * 300).code, "HIGH_LOSS")

    def test_a_loss_that_stays_where_it_began_is_left_alone(self):
        feed(LossGuard(1000), [2.0, 2.1, 1.9, 2.05] * 250)

    def test_the_window_grows_with_the_run(self):
        feed(LossGuard(10_000), [2.0] * 300 + [6.0] * 100)
        self.refused(LossGuard(10_000), [2.0] * 501 + [6.0] * 5)

    def test_not_finite(self):
        for loss in (float("nan"), float("inf")):
            self.assertEqual(self.refused(LossGuard(1000), [loss]).code, "LOSS_SPIKE")

    def test_a_guard_that_was_saved_judges_as_one_that_was_not(self):
        losses = [2.0] * 150 + [5.0] * 3
        first, second = LossGuard(1000), LossGuard(1000)
        feed(first, losses)
        second.load(json.loads(json.dumps(first.state())))
        feed(second, [5.0], 154)
        self.refused(second, [5.0], 155)
