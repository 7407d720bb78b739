"""Where the arithmetic happens, and in what precision.

The agent gives an attempt its GPUs by CUDA_VISIBLE_DEVICES; with none, or with a torch that was
built without CUDA, as Debian's is, everything happens on the CPU.
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch

from trainer.errors import EXIT_TEMPORARY, INFRASTRUCTURE, TrainerError
from trainer.recipe import AUTO, BFLOAT16, FLOAT32


@dataclass(frozen=True)
class Device:
    torch: torch.device
    precision: str  # FLOAT32 or BFLOAT16

    def autocast(self) -> AbstractContextManager:
        """Weights stay in float32; in BFLOAT16 matrices are multiplied in half precision."""
        return torch.autocast(self.torch.type, dtype=torch.bfloat16,
                              enabled=self.precision == BFLOAT16)

    def rng_states(self) -> dict[str, torch.Tensor]:
        states = {"rng.torch": torch.get_rng_state()}
        if self.torch.type == "cuda":
            states["rng.cuda"] = torch.cuda.get_rng_state(self.torch)
        return states

    def set_rng_states(self, states: dict[str, torch.Tensor]) -> None:
        torch.set_rng_state(states["rng.torch"])
        if self.torch.type == "cuda" and "rng.cuda" in states:  # not in what a CPU has saved
            torch.cuda.set_rng_state(states["rng.cuda"], self.torch)


def choose(precision: str) -> Device:
    """The first GPU this process may use, or the CPU. AUTO is BFLOAT16 on a GPU that has it.

    Those do from compute capability 8.0 on; on older ones torch imitates it, slowly.
    """
    gpu = torch.cuda.is_available()
    if not gpu and torch.version.cuda and os.environ.get("CUDA_VISIBLE_DEVICES"):
        raise TrainerError("GPU_NOT_USABLE", "This attempt was given GPUs "
                           f"(CUDA_VISIBLE_DEVICES={os.environ['CUDA_VISIBLE_DEVICES']}), and torch can use none of them.",
                           attribution=INFRASTRUCTURE, exit_status=EXIT_TEMPORARY)
    if precision == AUTO:
        precision = BFLOAT16 if gpu and torch.cuda.get_device_capability(0) >= (8, 0) else FLOAT32
    return Device(torch.device("cuda", 0) if gpu else torch.device("cpu"), precision)


def settle(seed: int) -> None:
    """Makes torch's arithmetic repeatable. One OpenMP thread: see `_limit_threads` in __main__.

    An operation that has no repeatable form is an error. That it only warns is no choice on a GPU: torch's attention
    then takes a form that is not repeatable, too.
    """
    torch.set_num_threads(1)
    if hasattr(torch.utils, "deterministic"):  # torch 2 would fill all memory that it takes, so that it is noticed when read
        torch.utils.deterministic.fill_uninitialized_memory = False
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(seed)
