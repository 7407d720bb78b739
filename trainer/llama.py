"""A compact Llama, with the parameter names and the arithmetic of Hugging Face's LlamaForCausalLM.

Sources: the published architecture (RMSNorm before each block, rotary embeddings in the rotate_half
convention, grouped-query attention, SwiGLU) and the `config.json` keys of transformers 4.44;
`hf_compat_test.py` holds the logits against it. There is no key/value cache: training does not need
one. A batch is padded on the right, so the causal mask alone keeps padding out of every real token.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.errors import TrainerError

IGNORE = -100  # the label of a position that bears no loss


@dataclass(frozen=True)
class LlamaConfig:
    """The keys of `config.json` that shape the network."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    context_length: int
    rope_theta: float
    rms_norm_eps: float
    tied: bool
    init_std: float

    @classmethod
    def from_json(cls, model: str, config: dict) -> "LlamaConfig":
        """Reads a `config.json`; refuses what this implementation would silently get wrong."""
        _refuse_unsupported(model, config)
        try:
            heads = int(config["num_attention_heads"])
            result = cls(
                vocab_size=int(config["vocab_size"]),
                hidden_size=int(config["hidden_size"]),
                intermediate_size=int(config["intermediate_size"]),
                layers=int(config["num_hidden_layers"]),
                heads=heads,
                kv_heads=int(config.get("num_key_value_heads") or heads),
                head_dim=int(config.get("head_dim") or int(config["hidden_size"]) // heads),
                context_length=int(config["max_position_embeddings"]),
                rope_theta=_rope_theta(config),
                rms_norm_eps=float(config.get("rms_norm_eps", 1e-6)),
                tied=bool(config.get("tie_word_embeddings", False)),
                init_std=float(config.get("initializer_range", 0.02)))
        except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
            raise _unsupported(model, f"config.json lacks or spoils a value: {error!r}") from None
        if result.kv_heads < 1 or result.heads % result.kv_heads or result.head_dim % 2:
            raise _unsupported(model, "num_attention_heads must be a multiple of "
                               "num_key_value_heads, and head_dim must be even")
        return result


def _unsupported(model: str, why: str) -> TrainerError:
    return TrainerError("UNSUPPORTED_MODEL", f"This trainer cannot train {model}: {why}.")


def _refuse_unsupported(model: str, config: dict) -> None:
    architectures = config.get("architectures")
    if architectures != ["LlamaForCausalLM"]:
        raise _unsupported(model, "it implements LlamaForCausalLM only, and config.json says "
                           f"architectures = {architectures}")
    if config.get("rope_scaling") is not None:
        raise _unsupported(model, "rope_scaling is set, and scaled rotary embeddings are not "
                           "implemented here")
    parameters = config.get("rope_parameters") or {}
    if not isinstance(parameters, dict) or not parameters.keys() <= {"rope_theta", "rope_type"} or (
            parameters.get("rope_type", "default") != "default"):
        raise _unsupported(model, "rope_parameters ask for more than rope_theta, and other rotary embeddings are not "
                           "implemented here")
    for key in ("attention_bias", "mlp_bias", "quantization_config"):
        if config.get(key):
            raise _unsupported(model, f"{key} is set in config.json and not implemented here")
    if (activation := config.get("hidden_act", "silu")) != "silu":
        raise _unsupported(model, f"hidden_act is {activation}, and only silu is implemented")


def _rope_theta(config: dict) -> float:
    """Transformers 5 writes it into rope_parameters, earlier ones beside the other values."""
    return float({"rope_theta": 10000.0, **config, **(config.get("rope_parameters") or {})}["rope_theta"])


class RMSNorm(nn.Module):
    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        if x.is_cuda:
            return self._fused(x)
        wide = x.float()  # also where the layers before computed in half precision
        return self.weight * (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps))

    def _fused(self, x: Tensor) -> Tensor:
        """The same by torch 2's kernel, in the type that the products which follow would each make of it."""
        y = F.rms_norm(x.float(), self.weight.shape, self.weight, self.eps)
        return y.to(torch.bfloat16) if torch.is_autocast_enabled() else y


def _rotate_half(x: Tensor) -> Tensor:
    half = x.shape[-1] // 2
    return torch.cat((-x[..., half:], x[..., :half]), dim=-1)


# On a CPU, attention is made for so many positions at a time, and only over those before the last of them: about half
# of all scores would be masked, and their matrices are what it costs to read and write.
_BLOCK = 64


def _attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """Softmax attention; `mask` is added to the scores, and keeps positions from those after them."""
    if q.is_cuda:
        return _attend_fused(q, k, v, mask)
    q, keys = q / math.sqrt(q.shape[-1]), k.transpose(2, 3)
    rows = []
    for start in range(0, q.shape[2], _BLOCK):
        end = start + _BLOCK
        scores = q[:, :, start:end] @ keys[..., :end] + mask[..., start:end, :end]
        rows.append(torch.softmax(scores, dim=-1) @ v[:, :, :end])
    return torch.cat(rows, dim=2)


def _attend_fused(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """The same by torch 2's kernel, which keeps no matrix of scores; without a mask, each position sees those before."""
    return F.scaled_dot_product_attention(q.to(v.dtype), k.to(v.dtype), v, attn_mask=mask, is_causal=mask is None)


class Attention(nn.Module):
    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.config = config
        queries, keys = config.heads * config.head_dim, config.kv_heads * config.head_dim
        self.q_proj = nn.Linear(config.hidden_size, queries, bias=False)
        self.k_proj = nn.Linear(config.hidden_size, keys, bias=False)
        self.v_proj = nn.Linear(config.hidden_size, keys, bias=False)
        self.o_proj = nn.Linear(queries, config.hidden_size, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor | None) -> Tensor:
        batch, length, _ = x.shape
        dim = self.config.head_dim
        groups = self.config.heads // self.config.kv_heads
        q = self.q_proj(x).view(batch, length, -1, dim).transpose(1, 2)
        k = self.k_proj(x).view(batch, length, -1, dim).transpose(1, 2)
        v = self.v_proj(x).view(batch, length, -1, dim).transpose(1, 2)
        q = q * cos + _rotate_half(q) * sin
        k = k * cos + _rotate_half(k) * sin
        k, v = k.repeat_interleave(groups, dim=1), v.repeat_interleave(groups, dim=1)
        return self.o_proj(_attend(q, k, v, mask).transpose(1, 2).reshape(batch, length, -1))


def _causal_mask(ids: Tensor, segments: Tensor | None) -> Tensor:
    """0 where a position may look, and -inf where it may not."""
    length = ids.shape[1]
    mask = torch.full((length, length), float("-inf"), device=ids.device).triu(1)
    if segments is None:
        return mask
    apart = segments.unsqueeze(1) != segments.unsqueeze(2)  # padding is a segment of its own
    return mask.expand(len(ids), -1, -1).masked_fill(apart, float("-inf")).unsqueeze(1)


class MLP(nn.Module):
    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.self_attn = Attention(config)
        self.mlp = MLP(config)
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor | None) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), cos, sin, mask)
        return x + self.mlp(self.post_attention_layernorm(x))


class Decoder(nn.Module):
    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)


class Llama(nn.Module):
    """`forward` maps token ids (batch, length) to logits (batch, length, vocabulary)."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.config = config
        self.model = Decoder(config)
        if not config.tied:
            self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)

    def forward(self, ids: Tensor, positions: Tensor | None = None,
                segments: Tensor | None = None) -> Tensor:
        """`positions` default to 0, 1, 2...; with `segments`, only equal numbers see each other."""
        cos, sin = self._rotations(ids, positions)
        mask = None
        if not ids.is_cuda:
            mask = _causal_mask(ids, segments)
        elif segments is not None:  # made once in the type that all layers need: they may keep what they are given
            half = torch.bfloat16 if torch.is_autocast_enabled() else torch.float32
            mask = _causal_mask(ids, segments).to(half)
        x = self.model.embed_tokens(ids)
        for layer in self.model.layers:
            x = layer(x, cos, sin, mask)
        x = self.model.norm(x)
        return F.linear(x, self.model.embed_tokens.weight) if self.config.tied else self.lm_head(x)

    def _rotations(self, ids: Tensor, positions: Tensor | None) -> tuple[Tensor, Tensor]:
        dim = self.config.head_dim
        exponents = torch.arange(0, dim, 2, dtype=torch.float32, device=ids.device) / dim
        if positions is None:
            positions = torch.arange(ids.shape[1], device=ids.device)
        angles = positions.float().unsqueeze(-1) * (1.0 / self.config.rope_theta ** exponents)
        angles = torch.cat((angles, angles), -1)
        if angles.dim() == 3:  # (batch, length, dim): one for all heads
            angles = angles.unsqueeze(1)
        return angles.cos(), angles.sin()

    @classmethod
    def empty(cls, config: LlamaConfig) -> "Llama":
        """Its weights have no values yet: to draw billions of them that are overwritten at once takes minutes."""
        if not hasattr(torch.device, "__enter__"):  # torch 1
            return cls(config)
        with torch.device("meta"):
            model = cls(config)
        return model.to_empty(device="cpu")

    def init_weights(self, seed: int) -> None:
        """Fills the weights from `seed` alone: the normal distribution of `initializer_range`.

        Matrices are drawn in the order of their names, so that the result does not depend on the
        order in which modules are built.
        """
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, parameter in sorted(self.named_parameters()):
                if parameter.dim() == 1:
                    parameter.fill_(1.0)
                else:
                    parameter.normal_(0.0, self.config.init_std, generator=generator)


def loss_sum(logits: Tensor, labels: Tensor) -> Tensor:
    """The summed cross entropy over all positions whose label is not IGNORE."""
    return F.cross_entropy(logits.float().flatten(0, 1), labels.flatten(), ignore_index=IGNORE,
                           reduction="sum")
