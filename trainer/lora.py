"""Low-rank adapters (Hu et al., 2021) beside frozen weights, on disk in the layout of PEFT.

A folder with `adapter_config.json` and `adapter_model.safetensors` is what PEFT 0.12 writes and
`PeftModel.from_pretrained` reads; `hf_compat_test.py` holds the one against the other.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.llama import Llama
from trainer.recipe import Lora

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
# What PEFT puts before a parameter's name in the model it wraps.
_PREFIX = "base_model.model."


class LoraLinear(nn.Linear):
    """A linear layer whose own weight stays as it is while `lora_A` and `lora_B` learn."""

    def __init__(self, plain: nn.Linear, lora: Lora) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = plain.in_features, plain.out_features
        self.weight = plain.weight
        self.register_parameter("bias", None)
        self.lora_A = nn.Parameter(plain.weight.new_empty(lora.rank, plain.in_features))
        self.lora_B = nn.Parameter(plain.weight.new_zeros(plain.out_features, lora.rank))
        self._scale = lora.alpha / lora.rank
        self._dropout = lora.dropout

    def forward(self, x: Tensor) -> Tensor:
        narrow = F.dropout(x, self._dropout, self.training) if self._dropout else x
        return (F.linear(x, self.weight)
                + F.linear(F.linear(narrow, self.lora_A), self.lora_B) * self._scale)

    def merged(self) -> Tensor:
        """The weight of a plain layer that computes the same."""
        return self.weight + (self.lora_B @ self.lora_A) * self._scale


def attach(model: Llama, lora: Lora, seed: int) -> None:
    """Freezes the model's weights and puts adapters beside those that `lora` names.

    B begins at 0 and A with the uniform distribution that PEFT draws from, filled in the order of
    names from `seed` alone: at first the model answers as it did.
    """
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    for path, module in sorted(model.named_modules()):
        parent, _, name = path.rpartition(".")
        if not isinstance(module, nn.Linear) or name not in lora.target_modules:
            continue
        layer = LoraLinear(module, lora)
        bound = 1.0 / math.sqrt(module.in_features)
        with torch.no_grad():  # kaiming_uniform_ with a = sqrt(5)
            layer.lora_A.copy_(torch.empty(layer.lora_A.shape).uniform_(
                -bound, bound, generator=generator))
        setattr(model.get_submodule(parent), name, layer)


def merged_weights(model: Llama) -> dict[str, Tensor]:
    """The weights of the plain model that computes the same; those made for it lie on the CPU, as a GPU may have no
    room for a second set."""
    tensors: dict[str, Tensor] = {}
    for path, module in model.named_modules():
        if isinstance(module, LoraLinear):
            tensors[path + ".weight"] = module.merged().cpu()
    for name, parameter in model.named_parameters():
        if not name.endswith((".lora_A", ".lora_B")):
            tensors.setdefault(name, parameter)
    return tensors


def adapters(model: Llama) -> dict[str, nn.Parameter]:
    """What is learned, by PEFT's names."""
    return {f"{_PREFIX}{name}.weight": parameter for name, parameter in model.named_parameters()
            if name.endswith((".lora_A", ".lora_B"))}


def config_json(lora: Lora, base_model: str, revision: str | None) -> dict:
    """The keys of PEFT's LoraConfig that decide what the adapters mean."""
    return {"peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": base_model, "revision": revision,
            "r": lora.rank, "lora_alpha": lora.alpha, "lora_dropout": lora.dropout,
            "target_modules": list(lora.target_modules), "bias": "none", "fan_in_fan_out": False,
            "init_lora_weights": True, "inference_mode": True, "modules_to_save": None}
