"""Writes `models/finetuned/tiny-llama/`, the model that needs no download.

Run it as `python3 -m trainer.make_tiny_llama`; its output is in git, and a test holds the two
together. The tokenizer is byte-level: 256 tokens for the bytes, in the printable alphabet of GPT-2
(Radford et al. 2019) that the `tokenizers` library calls ByteLevel, no merges, and 8 special ones.
It can therefore write any text, and never needs training.
"""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

from trainer.environment import PACKAGED_MODELS

NAME = "finetuned/tiny-llama"
PAD, BOS, EOS, END = "<|pad|>", "<|bos|>", "<|eos|>", "<|end|>"
ROLES = ("<|system|>", "<|user|>", "<|assistant|>", "<|tool|>")
SPECIAL = (PAD, BOS, EOS, *ROLES, END)

CHAT_TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}")


def byte_alphabet() -> list[str]:
    """One printable character per byte, by byte: printable ones stand for themselves."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte if byte in printable else 256 + others.index(byte)) for byte in range(256)]


def tokenizer() -> Tokenizer:
    vocabulary = {character: index for index, character in enumerate(byte_alphabet())}
    result = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    result.add_special_tokens([AddedToken(token, normalized=False) for token in SPECIAL])
    result.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    result.decoder = decoders.ByteLevel()
    result.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A $B",
        special_tokens=[(BOS, result.token_to_id(BOS))])
    return result


def files() -> dict[str, str]:
    """The text of each file of the model, by name."""
    made = tokenizer()
    ids = {token: made.token_to_id(token) for token in SPECIAL}
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama",
        "vocab_size": made.get_vocab_size(), "hidden_size": 128, "intermediate_size": 352,
        "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2,
        "head_dim": 32, "hidden_act": "silu", "max_position_embeddings": 512,
        "initializer_range": 0.05, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
        "rope_scaling": None, "attention_bias": False, "attention_dropout": 0.0,
        "tie_word_embeddings": True, "torch_dtype": "float32",
        "bos_token_id": ids[BOS], "eos_token_id": ids[EOS], "pad_token_id": ids[PAD]}
    special_map = {"bos_token": BOS, "eos_token": EOS, "pad_token": PAD,
                   "additional_special_tokens": [*ROLES, END]}
    documents = {
        "config.json": config,
        "generation_config.json": {"bos_token_id": ids[BOS], "pad_token_id": ids[PAD],
                                   "eos_token_id": [ids[EOS], ids[END]]},
        "special_tokens_map.json": special_map,
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 512,
            "clean_up_tokenization_spaces": False, "chat_template": CHAT_TEMPLATE, **special_map},
        "catalogue.json": {
            "name": NAME,
            "description": "A Llama of 0.77 million parameters with a byte-level tokenizer, for "
                           "trying finetuned out on a CPU. Not pretrained: its weights come from "
                           "a fixed seed.",
            "context_length": config["max_position_embeddings"], "parameters": 772_224,
            "pretrained": False, "init_seed": 20240229}}
    result = {name: json.dumps(document, indent=2) + "\n" for name, document in documents.items()}
    result["tokenizer.json"] = made.to_str(pretty=True) + "\n"
    return result


def main() -> None:
    folder: Path = PACKAGED_MODELS / NAME
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files().items():
        (folder / name).write_text(text, "utf-8")


if __name__ == "__main__":
    main()
