"""Every way in which training data can be wrong, and what the user reads then.

The texts are those of llm-foundry's `utils/exceptions.py` and `data/finetuning/tasks.py`, so that
people who move here find the words they know; where a class has no counterpart there, the text is
ours. What is added is position (file, line, message), all classes of problems at once, and a fix.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from trainer.errors import EXIT_DATA, TrainerError

SUMMARY_UNKNOWN_KEYS = ("At least one example in the {split} dataset has unknown keys. Check the "
                        "documentation for supported data formats.")

TEXTS = {
    "INVALID_EXAMPLE_TYPE": "Expected example to be a `Mapping`, but found type {found}",
    "UNKNOWN_EXAMPLE_TYPE":
        "Found keys {found} in dataset. Unknown example type. For prompt and response finetuning, "
        "the valid prompt keys are {{'prompt'}} and the valid response keys are "
        "{{'response','completion'}}. For chat finetuning, the allowed keys are {{'messages'}}",
    "INVALID_MESSAGES_TYPE": "Expected message to be an `Iterable`, but found type {found}",
    "NOT_ENOUGH_CHAT_DATA": "Chat example must have at least two messages",
    "INVALID_MESSAGE_TYPE": "Expected message to be a `Mapping`, but found type {found}",
    "INVALID_LAST_ROLE": "Invalid last message role: {found}. Expected one of: {{'assistant'}}",
    "MESSAGE_KEY_COUNT": "Expected 2 keys in message, but found {found}",
    "INVALID_ROLE": "Expected role to be one of {{'user', 'assistant', 'system', 'tool'}} but "
                    "found: {found}",
    "INVALID_CONTENT_TYPE": "Expected content to be a string, but found {found}",
    "REPEATED_ROLE": "Conversation roles must alternate but found {found} repeated consecutively.",
    "INVALID_PROMPT_TYPE": "Expected prompt to be a string, but found {found}",
    "INVALID_RESPONSE_TYPE": "Expected response to be a string, but found {found}",
    "CHAT_TEMPLATE_ERROR": "The model's chat template refuses the conversation: {found}",
    "INVALID_JSON": "Expected one JSON object a line, but found {found}",
    "INVALID_JSON_VALUE": "Expected messages to be a JSON list, but found {found}",
    "INVALID_CSV": "Expected a row of comma-separated values, but found {found}",
    "INVALID_PARQUET": "Expected a Parquet file, but found {found}",
    "LINE_TOO_LONG": "Expected a line of at most {found} bytes, but found a longer one",
    "NOT_UTF8": "Text file {found} contains chars that cannot be utf-8 decoded. Please remove or "
                "replace these chars.",
    "NO_TEXT_FILES": "No text files were found at {found}.",
    "NO_EXAMPLES": "No examples were found in {found}.",
    "DATA_NOT_READABLE": "The data cannot be read: {found}",
    "INVALID_FILE_EXTENSION": "Expected a .jsonl, .csv or .parquet file, but found {found}",
    "NOT_ENOUGH_SAMPLES":
        "Your dataset (name={name}, split={split}) has {samples} samples, but your minimum batch "
        "size is {batch_size} because you are running on 1 gpus and your per device batch size is "
        "{batch_size}. Please increase the number of samples in your dataset to at least "
        "{batch_size}."}

FIXES = {
    "INVALID_EXAMPLE_TYPE": "write each line as an object: {\"prompt\": ..., \"response\": ...}",
    "UNKNOWN_EXAMPLE_TYPE": "keep exactly the keys prompt and response (or completion), or exactly "
                            "the key messages",
    "INVALID_MESSAGES_TYPE": "write messages as a list of objects with role and content",
    "NOT_ENOUGH_CHAT_DATA": "give each conversation a user message and the assistant's answer",
    "INVALID_MESSAGE_TYPE": "write each message as {\"role\": ..., \"content\": ...}",
    "INVALID_LAST_ROLE": "end each conversation with an assistant message: it is what is learned",
    "MESSAGE_KEY_COUNT": "keep exactly the keys role and content",
    "INVALID_ROLE": "use the roles system, user, assistant and tool",
    "INVALID_CONTENT_TYPE": "write the content of a message as one string",
    "REPEATED_ROLE": "join adjacent messages of one role into one",
    "INVALID_PROMPT_TYPE": "write the prompt as one string",
    "INVALID_RESPONSE_TYPE": "write the response as one string",
    "INVALID_JSON": "write one complete JSON object on each line (JSON Lines)",
    "INVALID_JSON_VALUE": "write the value of messages as a JSON list, its quotes doubled as CSV has it",
    "INVALID_CSV": "put values that hold commas, quotes or line breaks between double quotes, and "
                   "double the quotes in them",
    "INVALID_PARQUET": "write the file anew, and copy it whole",
    "LINE_TOO_LONG": "split the example",
    "NOT_UTF8": "convert the file: iconv -f <encoding> -t utf-8",
    "NO_TEXT_FILES": "give a folder that holds at least one file whose name ends in .txt",
    "NO_EXAMPLES": "give a file with at least one example",
    "INVALID_FILE_EXTENSION": "convert the data to JSON Lines and name the file .jsonl; .csv (with a header) and "
                              ".parquet are read as well",
    "NOT_ENOUGH_SAMPLES": "an example counts when some of its response fits the context length; "
                          "text counts in blocks of the context length"}

LINES_SHOWN = 5


@dataclass(frozen=True)
class Problem:
    """One fault in the data. `line` counts from 1; `message` is the index in `messages`, from 0."""

    code: str
    text: str
    file: str | None = None
    line: int | None = None
    message: int | None = None

    def position(self) -> str:
        parts = [self.file or "", str(self.line) if self.line else ""]
        place = ":".join(part for part in parts if part)
        return place if self.message is None else f"{place}, message {self.message}"


def problem(code: str, found: object = "", **position: object) -> Problem:
    return Problem(code, TEXTS[code].format(found=found), **position)


@dataclass
class ProblemReport:
    """Collects the problems of one dataset: a count per class, and the first few of each."""

    split: str  # "training" or "evaluation"
    shown: dict[str, list[Problem]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def add(self, found: Problem) -> None:
        self.counts[found.code] = self.counts.get(found.code, 0) + 1
        shown = self.shown.setdefault(found.code, [])
        if len(shown) < LINES_SHOWN:
            shown.append(found)

    def raise_if_any(self) -> None:
        """Raises the first problem met, with all others in the detail of its message."""
        if not self.counts:
            return
        first = next(iter(self.shown.values()))[0]
        if first.code == "UNKNOWN_EXAMPLE_TYPE":
            summary = SUMMARY_UNKNOWN_KEYS.format(split=self.split)
        else:
            summary = first.text
        known = {"file": first.file, "line": first.line, "message_index": first.message}
        position = {key: value for key, value in known.items() if value is not None}
        raise TrainerError(
            first.code, "\n".join([summary, *self._detail()]), exit_status=EXIT_DATA,
            problems=[{"code": code, "count": count,
                       "lines": [p.line for p in self.shown[code] if p.line]}
                      for code, count in self.counts.items()], **position)

    def _detail(self) -> list[str]:
        lines = []
        for code, count in self.counts.items():
            shown = self.shown[code]
            first = f" (the first {len(shown)})" if count > len(shown) else ""
            lines.append(f"{code}: {count} in the {self.split} data{first}")
            lines += [f"  {p.position()}: {p.text}" if p.position() else f"  {p.text}"
                      for p in shown]
            if code in FIXES:
                lines.append(f"  Fix: {FIXES[code]}.")
        return lines


def not_enough_samples(name: str, split: str, samples: int, batch_size: int) -> Problem:
    text = TEXTS["NOT_ENOUGH_SAMPLES"].format(name=name, split=split, samples=samples,
                                              batch_size=batch_size)
    return Problem("NOT_ENOUGH_SAMPLES", text, file=name)
