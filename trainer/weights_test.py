"""What is written a tensor at a time is what the library makes of all at once."""

import io
import unittest

import torch

from trainer import weights


class WriteTest(unittest.TestCase):
    def test_the_bytes_are_those_of_encode(self):
        generator = torch.Generator().manual_seed(1)
        tensors = {"b": torch.rand((3, 5), generator=generator), "a": torch.rand((7,), generator=generator),
                   "random.cpu": torch.arange(13, dtype=torch.uint8), "ä \"": torch.zeros((2, 0)),
                   "scalar": torch.tensor(0.5), "turned": torch.rand((4, 6), generator=generator).t()}
        for some in (tensors, {}, {"a": tensors["a"]}):
            file = io.BytesIO()
            weights.write(file, some)
            self.assertEqual(file.getvalue(), weights.encode(some))


if __name__ == "__main__":
    unittest.main()
