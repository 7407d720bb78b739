import unittest

import torch

from trainer import evaluation


class SamplingTest(unittest.TestCase):
    def test_prompts_are_answered_as_the_fine_tuning_api_documents(self):
        self.assertEqual((evaluation.MAX_NEW_TOKENS, evaluation.TEMPERATURE, evaluation.TOP_K,
                          evaluation.TOP_P), (100, 1.0, 50, 0.95))

    def drawn(self, logits, times=4000):
        generator = torch.Generator().manual_seed(1)
        return {evaluation._sample(logits, generator) for _ in range(times)}

    def test_only_the_likeliest_are_drawn(self):
        logits = torch.zeros(80)
        logits[:60] = 1.0  # 60 alike, of which 50 are kept, and of these 0.95 of the probability
        self.assertEqual(len(self.drawn(logits)), 48)

    def test_what_is_beyond_the_probability_is_not_drawn(self):
        # 0.90, 0.09 and 0.01: the second one passes 0.95.
        logits = torch.log(torch.tensor([0.01, 0.90, 0.09]))
        self.assertEqual(self.drawn(logits), {1, 2})
        # The likeliest is drawn even where it alone passes it.
        self.assertEqual(self.drawn(torch.log(torch.tensor([0.98, 0.02]))), {0})
