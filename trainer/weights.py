"""Reading and writing weights in the Hugging Face layout, as safetensors only.

Pickled weights (`pytorch_model.bin`, `*.pt`) are never opened: loading one runs code of whoever
wrote it. Training happens in float32, whatever precision the files have.
"""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from typing import BinaryIO

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from trainer.errors import TrainerError
from trainer.llama import Llama

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
_DTYPES = {torch.float32: "F32", torch.uint8: "U8"}  # of what is trained, and of random numbers
# What torch.save writes. They are never opened: loading one runs code that it holds.
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


def has_weights(folder: Path) -> bool:
    return (folder / SINGLE).is_file() or (folder / INDEX).is_file()


def load_model(model: Llama, folder: Path) -> None:
    """Fills `model` from a single or a sharded safetensors file in `folder`."""
    files = files_in(folder)
    absent = [file.name for file in files if not file.is_file()]
    if absent:
        raise TrainerError("INVALID_WEIGHTS", f"The weights in {folder} lack the file {', '.join(absent[:3])}. "
                           "Copy the whole folder anew.")
    found: dict[str, Tensor] = {}
    for file in files:
        found.update(load_tensors(file))
    wanted = dict(model.named_parameters())
    # Llama checkpoints of old transformers carry the rotary table; tied ones may carry the head.
    spare = {n for n in found if n.endswith("rotary_emb.inv_freq")}
    if model.config.tied:
        spare.add("lm_head.weight")
    missing = sorted(wanted.keys() - found.keys())
    unknown = sorted(found.keys() - wanted.keys() - spare)
    if missing or unknown:
        raise _mismatch(folder, f"lacks {missing[:3]}, has unknown {unknown[:3]}")
    with torch.no_grad():
        for name, parameter in wanted.items():
            if parameter.shape != found[name].shape:
                raise _mismatch(folder, f"{name} has shape {list(found[name].shape)}, the model "
                                f"needs {list(parameter.shape)}")
            parameter.copy_(found[name])


def digest(model: Llama) -> str:
    """Stands for the values of all weights, whatever files they came from."""
    result = hashlib.sha256()
    for name, parameter in sorted(model.named_parameters()):
        result.update(name.encode())
        result.update(memoryview(parameter.detach().contiguous().numpy()).cast("B"))
    return result.hexdigest()


def load_tensors(file: Path) -> dict[str, Tensor]:
    try:
        with safe_open(file, framework="pt") as reader:
            return {name: reader.get_tensor(name) for name in reader.keys()}
    except (OSError, SafetensorError) as error:
        raise TrainerError("INVALID_WEIGHTS", f"Cannot read {file}: {error}. Copy it anew.") from None


def encode(tensors: dict[str, Tensor]) -> bytes:
    """The bytes of a safetensors file. transformers refuses one without the format's name."""
    return save({n: t.detach().cpu().contiguous() for n, t in tensors.items()}, {"format": "pt"})


def write(file: BinaryIO, tensors: dict[str, Tensor]) -> None:
    """Writes the bytes that `encode` returns, with one tensor at a time in memory: there is no room for all twice."""
    ordered = sorted(tensors.items(), key=lambda item: (-item[1].element_size(), item[0]))
    header: dict[str, dict] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, tensor in ordered:
        start, end = end, end + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": _DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    text += b" " * (-len(text) % 8)
    file.write(struct.pack("<Q", len(text)) + text)
    for _, tensor in ordered:
        file.write(tensor.detach().cpu().contiguous().view(-1).numpy().data)


def files_in(folder: Path) -> list[Path]:
    """The safetensors files that hold the weights, by name or by the index."""
    if not (folder / INDEX).is_file():
        return [folder / SINGLE]
    try:
        names = set(json.loads((folder / INDEX).read_bytes())["weight_map"].values())
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise TrainerError("INVALID_WEIGHTS", f"Cannot read {folder / INDEX}: {error!r}") from None
    if not all(isinstance(name, str) and name == Path(name).name for name in names):
        raise TrainerError("INVALID_WEIGHTS", f"{folder / INDEX} names files outside its folder.")
    return [folder / name for name in sorted(names)]


def _mismatch(folder: Path, why: str) -> TrainerError:
    return TrainerError("WEIGHTS_MISMATCH",
                        f"The weights in {folder} do not belong to the run's model: {why}.")
