"""A model's `tokenizer.json` and chat template.

The template of `tokenizer_config.json` is a Jinja program written for transformers; it runs in
Jinja's sandbox with the two settings and the one function that transformers documents for it
(trim_blocks, lstrip_blocks, raise_exception).
"""

from __future__ import annotations

import json
from pathlib import Path

from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer

from trainer.errors import TrainerError

# The files that make up a tokenizer, copied into each checkpoint where the model has them.
FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
         "added_tokens.json", "tokenizer.model", "chat_template.jinja")


class ModelTokenizer:
    """Turns text and conversations into token ids."""

    def __init__(self, folder: Path, vocab_size: int) -> None:
        try:
            self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
            config_path = folder / "tokenizer_config.json"
            config = json.loads(config_path.read_bytes()) if config_path.is_file() else {}
            template = _template_text(config.get("chat_template"), folder / "chat_template.jinja")
        except Exception as error:  # tokenizers raises bare Exception
            raise TrainerError("UNSUPPORTED_MODEL",
                               f"Cannot read the tokenizer in {folder}: {error}") from None
        if self._tokenizer.get_vocab_size() > vocab_size:
            raise TrainerError("UNSUPPORTED_MODEL", f"The tokenizer in {folder} has more tokens "
                               f"than the model's vocab_size {vocab_size}.")
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._special = {key: _token(config.get(key))
                         for key in ("bos_token", "eos_token", "unk_token", "pad_token")}
        bos, eos = self._special["bos_token"], self._special["eos_token"]
        self._bos_id = self._tokenizer.token_to_id(bos) if bos else None
        self.eos_id = self._tokenizer.token_to_id(eos) if eos else None
        # What the tokenizer puts before every text by itself: for a Llama, its bos token.
        self.prefix: list[int] = [i for i in self._tokenizer.encode("").ids if i == self._bos_id]
        self.end: list[int] = [] if self.eos_id is None else [self.eos_id]
        self._template = _compile(template)

    def encode(self, text: str) -> list[int]:
        """The ids of `text` alone, without prefix or end."""
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def decode(self, ids: list[int]) -> str:
        return self._tokenizer.decode(ids, skip_special_tokens=True)

    def encode_pair(self, prompt: str, response: str) -> tuple[list[int], int]:
        """The ids of an instruction example, and where its response begins."""
        start = self.prefix + self.encode(prompt)
        return start + self.encode(response) + self.end, len(start)

    def encode_chat(self, messages: list[dict]) -> tuple[list[int], int]:
        """The ids of a conversation, and where its last turn's answer begins.

        The turn is found by rendering the conversation without it, with the generation prompt: the
        rest of the full text is what the model has to say.
        """
        if self._template is None:
            raise TrainerError("NO_CHAT_TEMPLATE", "The model's tokenizer has no chat template: "
                               "it cannot be trained on chat data. Use prompt and response.")
        try:
            before = self._render(messages[:-1], True)
            full = self._render(messages, False)
        except MemoryError:
            raise
        except Exception as error:  # a template is a program, and fails as programs do
            raise ChatTemplateError(f"{type(error).__name__}: {error}") from None
        if not full.startswith(before):
            raise ChatTemplateError("the template rewrites earlier turns when one is added")
        start = self.encode(before)
        return start + self.encode(full[len(before):]), len(start)

    def _render(self, messages: list[dict], generation_prompt: bool) -> str:
        tokens = {key: value for key, value in self._special.items() if value}
        return self._template.render(messages=messages, add_generation_prompt=generation_prompt,
                                     **tokens)


class ChatTemplateError(Exception):
    """The model's chat template refuses one conversation."""


def _token(value: object) -> str | None:
    """A special token is a string, or an object with a `content`."""
    if isinstance(value, dict):
        value = value.get("content")
    return value if isinstance(value, str) else None


def _template_text(template: object, beside: Path) -> str | None:
    if isinstance(template, list):  # several named templates
        named = {entry.get("name"): entry.get("template") for entry in template}
        template = named.get("default")
    if template is None and beside.is_file():
        template = beside.read_text("utf-8")
    return template if isinstance(template, str) else None


def _compile(template: str | None):
    if template is None:
        return None

    def raise_exception(message: str) -> None:
        raise TemplateError(message)

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.globals["raise_exception"] = raise_exception
    try:
        return environment.from_string(template)
    except TemplateError as error:
        raise TrainerError("UNSUPPORTED_MODEL", f"The chat template is broken: {error}") from None
