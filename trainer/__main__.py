"""`python3 -m trainer`: one attempt at one run, described by the environment. See README.md."""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path

from trainer import errors
from trainer.control import Control
from trainer.environment import Environment
from trainer.errors import TrainerError
from trainer.events import EventWriter, plain

_ADVICE_OOM = ("The trainer ran out of memory. Try a smaller recipe.micro_batch_size, which changes nothing of what is "
               "learned, a smaller context_length, or a worker with more memory.")
# How torch's CPU and CUDA allocators and NVIDIA's libraries word a failed allocation, in a RuntimeError.
_OOM_MARKS = ("can't allocate memory", "not enough memory", "out of memory", "_STATUS_ALLOC_FAILED")
# The libraries that, on a GPU with less left than this, also fail without saying why.
_LIBRARY_MARKS = ("CUBLAS_STATUS_", "CUDNN_STATUS_")
_LEAST_GPU_BYTES = 256 << 20


def main() -> int:
    """Returns the exit status. A failure is told three times: event, error file, stderr."""
    try:
        environment = Environment.from_variables(os.environ)
        events = EventWriter(environment.events, environment.stall_seconds)
    except (TrainerError, OSError) as error:
        return _fail_early(error)
    control = Control(environment.control)
    control.install_signal_handler()
    _limit_threads(environment.threads)
    try:
        from trainer import loop  # loads torch, which takes seconds: a stop is noticed before

        return loop.Attempt(environment, events, control).run()
    except Exception as error:
        return _fail(_explain(error), environment.error_file, events)


def _limit_threads(threads: int) -> None:
    """Gives the threads to OpenBLAS and leaves torch's own pool at one (`device.settle`).

    Debian's OpenBLAS keeps a pool of pthreads beside torch's OpenMP pool, and on few cores the two
    fight: a step of the tiny model takes 0.40 s with 2 and 2 threads, 0.18 s with 2 and 1. OpenBLAS
    reads the variable when torch loads it.
    """
    os.environ["OPENBLAS_NUM_THREADS"] = str(threads)
    # Without it cuBLAS cannot repeat its results (torch, "Reproducibility").
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def _explain(error: Exception) -> TrainerError:
    if isinstance(error, TrainerError):
        return error
    traceback.print_exception(error)
    text = str(error)
    if isinstance(error, MemoryError) or isinstance(error, RuntimeError) and _is_short_of_memory(text):
        if _gpu_is_taken():
            return TrainerError("GPU_OCCUPIED", "Other processes hold much of the GPU's memory.",
                                attribution=errors.INFRASTRUCTURE, exit_status=errors.EXIT_TEMPORARY)
        return TrainerError("OUT_OF_MEMORY", _ADVICE_OOM, attribution=errors.OOM,
                            exit_status=errors.EXIT_INTERNAL)
    return TrainerError("INTERNAL_ERROR", f"{type(error).__name__}: {text}",
                        attribution=errors.INTERNAL, exit_status=errors.EXIT_INTERNAL)


def _is_short_of_memory(text: str) -> bool:
    if any(mark in text for mark in _OOM_MARKS):
        return True
    free, total, _ = _gpu_memory()
    return total > 0 and free < _LEAST_GPU_BYTES and any(mark in text for mark in _LIBRARY_MARKS)


def _gpu_is_taken() -> bool:
    """Whether others hold a quarter of the GPU, which the agent gave to this attempt alone."""
    free, total, own = _gpu_memory()
    return total - free - own > total / 4


def _gpu_memory() -> tuple[int, int, int]:
    """Free bytes, all, and those of this process; all 0 without a GPU, or where not even that can be asked."""
    torch = sys.modules.get("torch")
    try:
        if torch is None or not torch.cuda.is_available():
            return 0, 0, 0
        return (*torch.cuda.mem_get_info(), torch.cuda.memory_reserved())
    except RuntimeError:
        return 0, 1, 0  # no room for a context: it is taken


def _fail(error: TrainerError, error_file: Path | None, events: EventWriter | None) -> int:
    failure = {"code": error.code, "message": error.message, "attribution": error.attribution}
    print(f"trainer: {error.code}: {plain(error.message)}", file=sys.stderr)
    try:
        if error_file is not None:
            error_file.write_text(json.dumps(plain(failure)), "ascii")
        if events is not None:
            events.emit("failed", **failure, **error.details)
    except OSError as problem:  # a full disk: the exit status and stderr are what is left
        print(f"trainer: cannot report the failure: {problem}", file=sys.stderr)
    return error.exit_status


def _fail_early(error: TrainerError | OSError) -> int:
    """Before there is an environment to trust, tells what it can where it can."""
    if isinstance(error, OSError):
        error = TrainerError("INVALID_ENVIRONMENT", f"Cannot write FINETUNED_EVENTS: {error}",
                             exit_status=errors.EXIT_USAGE)
    file, path = os.environ.get("FINETUNED_ERROR_FILE"), os.environ.get("FINETUNED_EVENTS")
    try:
        events = EventWriter(Path(path)) if path else None
    except OSError:
        events = None
    return _fail(error, Path(file) if file else None, events)


if __name__ == "__main__":
    sys.exit(main())
