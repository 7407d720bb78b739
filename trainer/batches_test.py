import unittest

from trainer.batches import BatchPlan, Position, collate
from trainer.data import Dataset
from trainer.durations import parse
from trainer.llama import IGNORE
from trainer.recipe import CONSTANT, COSINE, Recipe
from trainer.rows import Rows
from trainer.schedule import learning_rate_at


def dataset(lengths):
    data = Dataset()
    for length in lengths:
        data.add(list(range(length)), 2, 100)
    return data


class BatchPlanTest(unittest.TestCase):
    def setUp(self):
        self.data = dataset(range(3, 23))  # 20 samples: batches of 8, 8 and 4

    def plan(self, duration):
        return BatchPlan(Rows(self.data, None), parse(duration, "training_duration"), 8, 17)

    def test_an_epoch_shows_every_sample_once_in_an_order_of_its_own(self):
        plan = self.plan("2ep")
        batches = list(plan.from_step(0))
        self.assertEqual([len(batch) for batch in batches], [8, 8, 4, 8, 8, 4])
        first, second = sum(batches[:3], []), sum(batches[3:], [])
        self.assertEqual(sorted(first), list(range(20)))
        self.assertNotEqual(first, second)
        self.assertEqual(sorted(first), sorted(second))

    def test_resuming_anywhere_gives_the_rest(self):
        plan = self.plan("3ep")
        batches = list(plan.from_step(0))
        for step in range(plan.total + 1):
            self.assertEqual(list(plan.from_step(step)), batches[step:])

    def test_a_length_in_tokens_ends_with_the_batch_that_reaches_it(self):
        for wanted in (1, 100, 250, 251, 500, 777):
            plan, position = self.plan(f"{wanted}tok"), Position()
            before = position
            for batch in plan.from_step(0):
                before, position = position, plan.after(position, batch)
            self.assertLess(before.tokens, wanted)
            self.assertGreaterEqual(position.tokens, wanted)

    def test_lengths(self):
        self.assertEqual((self.plan("7ba").total, self.plan("7ba").epochs), (7, 3))
        self.assertEqual((self.plan("2ep").total, self.plan("2ep").epochs), (6, 2))

    def test_a_place_is_told_in_the_unit_of_the_duration(self) -> None:
        self.assertEqual(self.plan("2ep").place(4),
                         {"epoch": 2, "epochs": 2, "batch": 1, "batches": 3})
        self.assertEqual(self.plan("7ba").place(4),
                         {"epoch": 2, "epochs": 0, "batch": 4, "batches": 7})
        huge = self.plan("999999999999999tok")
        self.assertGreater(huge.total, 10**12)

    def test_save_intervals(self):
        plan = self.plan("2ep")
        ends = {text: [] for text in ("1ep", "2ba", "120tok")}
        position = Position()
        for batch in plan.from_step(0):
            before, position = position, plan.after(position, batch)
            for text, steps in ends.items():
                if plan.interval_ends(parse(text, "save_interval"), before, position):
                    steps.append(position.step)
        self.assertEqual(ends["1ep"], [3, 6])
        self.assertEqual(ends["2ba"], [2, 4, 6])
        self.assertEqual(len(ends["120tok"]), 500 // 120)

    def test_collate_pads_and_masks(self):
        batch = collate(Rows(dataset([3, 5]), None), [0, 1])
        self.assertEqual(batch.ids.tolist(), [[0, 1, 2, 0, 0], [0, 1, 2, 3, 4]])
        self.assertEqual(batch.labels.tolist(), [[IGNORE, 2, IGNORE, IGNORE, IGNORE],
                                           [IGNORE, 2, 3, 4, IGNORE]])
        self.assertEqual((batch.positions, batch.segments, batch.learned_tokens()), (None, None, 4))


class ScheduleTest(unittest.TestCase):
    def test_warms_up_over_two_percent_and_decays_to_zero(self):
        rates = [learning_rate_at(step, 200, 1.0) for step in range(201)]
        self.assertEqual(rates[:4], [0.25, 0.5, 0.75, 1.0])
        self.assertEqual(max(rates), 1.0)
        self.assertEqual(rates[4:], sorted(rates[4:], reverse=True))
        self.assertEqual(rates[200], 0.0)
        self.assertGreater(rates[199], 0.0)

    def test_a_run_of_one_batch_learns(self):
        self.assertEqual(learning_rate_at(0, 1, 1.0), 1.0)

    def test_shapes(self):
        for recipe, last in ((Recipe(), 1 / 98), (Recipe(schedule=COSINE), 0.0002569),
                             (Recipe(schedule=CONSTANT), 1.0)):
            rates = [learning_rate_at(step, 100, 1.0, recipe) for step in range(100)]
            self.assertEqual(rates[:2], [0.5, 1.0])
            self.assertAlmostEqual(rates[99], last, places=6)
        middle = learning_rate_at(51, 100, 1.0, Recipe(schedule=COSINE))
        self.assertAlmostEqual(middle, 0.5)
        self.assertEqual(learning_rate_at(0, 100, 1.0, Recipe(warm_up_fraction=0.0)), 1.0)
        self.assertEqual(learning_rate_at(99, 100, 1.0, Recipe(warm_up_fraction=1.0)), 1.0)


class RowsTest(unittest.TestCase):
    def test_packing_loses_no_sample_and_fits(self):
        data = dataset([3, 5, 4, 9, 10, 3, 7, 3])
        rows = Rows(data, 10)
        packed = [rows.samples(number) for number in range(len(rows))]
        self.assertEqual(sorted(sum(packed, [])), list(range(8)))
        self.assertTrue(all(rows.tokens(number) <= 10 for number in range(len(rows))))
        self.assertEqual(packed[0], [0, 1])  # 3 + 5
        self.assertEqual(len(packed), 5)  # 44 tokens in rows of 10: none fewer would do

    def test_many_open_rows_are_bounded(self):
        rows = Rows(dataset([6] * 300), 10)
        self.assertEqual(len(rows), 300)

    def test_packed_samples_are_kept_apart(self):
        batch = collate(Rows(dataset([3, 4]), 10), [0])
        self.assertEqual(batch.ids.tolist(), [[0, 1, 2, 0, 1, 2, 3]])
        self.assertEqual(batch.labels.tolist(),
                         [[IGNORE, 2, IGNORE, IGNORE, 2, 3, IGNORE]])
        self.assertEqual(batch.positions.tolist(), [[0, 1, 2, 0, 1, 2, 3]])
        self.assertEqual(batch.segments.tolist(), [[1, 1, 1, 2, 2, 2, 2]])
