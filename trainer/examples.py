"""The checks on one example, in llm-foundry's order: the first fault counts.

A fault is returned and not raised: a file is read to its end, so that all faults show at once.
"""

from __future__ import annotations

from typing import Collection

from trainer.data_errors import Problem, problem

ROLES = ("user", "assistant", "system", "tool")
RESPONSE_KEYS = ("response", "completion")


def check(example: object, **position: object) -> Problem | None:
    """The first fault of `example`, or None; `position` is the file and line for the report."""
    if not isinstance(example, dict):
        return problem("INVALID_EXAMPLE_TYPE", type(example), **position)
    if not are_known_keys(example):
        keys = ", ".join(repr(key) for key in example)
        return problem("UNKNOWN_EXAMPLE_TYPE", "{" + keys + "}", **position)
    if "messages" in example:
        return _check_chat(example["messages"], position)
    return _check_pair(example, position)


def are_known_keys(keys: Collection[str]) -> bool:
    """Whether these are the keys of an example, each once and no other."""
    if len(keys) == 1:
        return "messages" in keys
    return len(keys) == 2 and "prompt" in keys and response_key(keys) is not None


def response_key(keys: Collection[str]) -> str | None:
    return next((key for key in RESPONSE_KEYS if key in keys), None)


def _check_pair(example: dict, position: dict) -> Problem | None:
    prompt, response = example["prompt"], example[response_key(example)]
    for code, text in (("INVALID_PROMPT_TYPE", prompt), ("INVALID_RESPONSE_TYPE", response)):
        if not isinstance(text, str):
            return problem(code, type(text), **position)
    return _check_text(prompt + response, position)


def _check_chat(messages: object, position: dict) -> Problem | None:
    if not isinstance(messages, list):
        return problem("INVALID_MESSAGES_TYPE", type(messages), **position)
    if len(messages) < 2:
        return problem("NOT_ENOUGH_CHAT_DATA", **position)
    for index, message in enumerate(messages):
        if not isinstance(message, dict):
            return problem("INVALID_MESSAGE_TYPE", type(message), message=index, **position)
    last = messages[-1].get("role")
    if last != "assistant":
        return problem("INVALID_LAST_ROLE", last, message=len(messages) - 1, **position)
    previous = None
    for index, message in enumerate(messages):
        found = _check_message(message, previous, {**position, "message": index})
        if found is not None:
            return found
        previous = message["role"]
    return None


def _check_message(message: dict, previous: str | None, position: dict) -> Problem | None:
    if len(message) != 2:
        return problem("MESSAGE_KEY_COUNT", len(message), **position)
    role, content = message.get("role"), message.get("content")
    if role not in ROLES:
        return problem("INVALID_ROLE", role, **position)
    if not isinstance(content, str):
        return problem("INVALID_CONTENT_TYPE", type(content), **position)
    if role == previous:
        return problem("REPEATED_ROLE", role, **position)
    return _check_text(content, position)


def _check_text(text: str, position: dict) -> Problem | None:
    """JSON can spell half a surrogate pair (`\\ud800`), which no tokenizer can encode."""
    try:
        text.encode("utf-8")
        return None
    except UnicodeEncodeError:
        return problem("NOT_UTF8", position.get("file"), **position)
