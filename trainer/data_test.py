"""Every class of data error with its exact text, and what is accepted silently."""

import json
from unittest import mock

from trainer import data
from trainer.data import MAX_LINE_BYTES, Reader
from trainer.errors import EXIT_DATA, TrainerError
from trainer.testing import TINY, FolderCase, make_model
from trainer.tokenizer import ModelTokenizer

GOOD = {"prompt": "a", "response": "b"}
UNKNOWN = ("Found keys {} in dataset. Unknown example type. For prompt and response finetuning, "
           "the valid prompt keys are {{'prompt'}} and the valid response keys are "
           "{{'response','completion'}}. For chat finetuning, the allowed keys are {{'messages'}}")


def chat(*turns):
    return {"messages": [{"role": role, "content": content} for role, content in turns]}


GOOD_CHAT = chat(("user", "u"), ("assistant", "x"))

# example, code, text, index of the message
BAD = [
    ([1], "INVALID_EXAMPLE_TYPE",
     "Expected example to be a `Mapping`, but found type <class 'list'>", None),
    ({"prompt": "a"}, "UNKNOWN_EXAMPLE_TYPE", UNKNOWN.format("{'prompt'}"), None),
    ({**GOOD, "completion": "c"}, "UNKNOWN_EXAMPLE_TYPE",
     UNKNOWN.format("{'prompt', 'response', 'completion'}"), None),
    ({"response": "a", "completion": "b"}, "UNKNOWN_EXAMPLE_TYPE",
     UNKNOWN.format("{'response', 'completion'}"), None),
    ({"messages": [], "id": 1}, "UNKNOWN_EXAMPLE_TYPE", UNKNOWN.format("{'messages', 'id'}"), None),
    ({"messages": "hi"}, "INVALID_MESSAGES_TYPE",
     "Expected message to be an `Iterable`, but found type <class 'str'>", None),
    (chat(("assistant", "a")), "NOT_ENOUGH_CHAT_DATA",
     "Chat example must have at least two messages", None),
    ({"messages": [1, 2]}, "INVALID_MESSAGE_TYPE",
     "Expected message to be a `Mapping`, but found type <class 'int'>", 0),
    (chat(("assistant", "a"), ("user", "b")), "INVALID_LAST_ROLE",
     "Invalid last message role: user. Expected one of: {'assistant'}", 1),
    ({"messages": [{"role": "user", "content": "a", "name": "n"},
                   {"role": "assistant", "content": "b"}]}, "MESSAGE_KEY_COUNT",
     "Expected 2 keys in message, but found 3", 0),
    (chat(("human", "a"), ("assistant", "b")), "INVALID_ROLE",
     "Expected role to be one of {'user', 'assistant', 'system', 'tool'} but found: human", 0),
    (chat((["user"], "a"), ("assistant", "b")), "INVALID_ROLE",
     "Expected role to be one of {'user', 'assistant', 'system', 'tool'} but found: ['user']", 0),
    (chat(("user", "a"), ("assistant", None)), "INVALID_CONTENT_TYPE",
     "Expected content to be a string, but found <class 'NoneType'>", 1),
    (chat(("user", "a"), ("user", "b"), ("assistant", "c")), "REPEATED_ROLE",
     "Conversation roles must alternate but found user repeated consecutively.", 1),
    ({"prompt": 1, "response": "b"}, "INVALID_PROMPT_TYPE",
     "Expected prompt to be a string, but found <class 'int'>", None),
    ({"prompt": "a", "completion": {}}, "INVALID_RESPONSE_TYPE",
     "Expected response to be a string, but found <class 'dict'>", None),
    ({"prompt": "a", "response": "\ud800"}, "NOT_UTF8", "Text file {file} contains chars that "
     "cannot be utf-8 decoded. Please remove or replace these chars.", None),
]


class DataCase(FolderCase):
    def setUp(self):
        super().setUp()
        self.tokenizer = ModelTokenizer(TINY, 264)
        self.file = self.folder / "train.jsonl"

    def read(self, content=None, path=None, task="CHAT_COMPLETION", context=64, least=1,
             split="training"):
        if content is not None:
            self.file.write_bytes(content)
        reader = Reader(self.tokenizer, context, split, lambda: None)
        return reader.read(str(path or self.file), task, least)

    def failure(self, *args, **options) -> TrainerError:
        with self.assertRaises(TrainerError) as caught:
            self.read(*args, **options)
        self.assertEqual(caught.exception.exit_status, EXIT_DATA)
        self.assertEqual(caught.exception.attribution, "user")
        return caught.exception


def lines(*examples) -> bytes:
    return "".join(json.dumps(example) + "\n" for example in examples).encode()


class JsonLinesErrorsTest(DataCase):
    def test_table_of_examples(self):
        for example, code, text, message in BAD:
            with self.subTest(code=code, example=example):
                error = self.failure(lines(GOOD, GOOD, example, GOOD))
                text = text.replace("{file}", str(self.file))
                position = f"{self.file}:3" + ("" if message is None else f", message {message}")
                self.assertEqual(error.code, code)
                self.assertIn(f"  {position}: {text}\n", error.message + "\n")
                self.assertEqual(error.details["file"], str(self.file))
                self.assertEqual(error.details["line"], 3)
                self.assertEqual(error.details.get("message_index"), message)
                self.assertEqual(error.details["problems"],
                                 [{"code": code, "count": 1, "lines": [3]}])
                first = error.message.splitlines()[0]
                if code == "UNKNOWN_EXAMPLE_TYPE":
                    self.assertEqual(first, "At least one example in the training dataset has "
                                     "unknown keys. Check the documentation for supported data "
                                     "formats.")
                else:
                    self.assertEqual(first, text)

    def test_lines_that_are_not_json(self):
        for raw, text in ((b"{'prompt': 1}", "at byte 2"),
                          (b'{"prompt":"\xc3\xa9" "x"}', "at byte 16"),
                          (b'{"prompt": "a",}', "(a trailing comma?)"),
                          (b"[", "(a JSON document over several lines?)"),
                          (b"[" * 100000, "cannot be read"), (b"nope", "at byte 1")):
            with self.subTest(raw=raw[:20]):
                error = self.failure(lines(GOOD) + raw + b"\n")
                self.assertEqual((error.code, error.details["line"]), ("INVALID_JSON", 2))
                self.assertIn(text, error.message)

    def test_line_that_is_not_utf8(self):
        error = self.failure(lines(GOOD) + '{"prompt": "ä"}'.encode("latin-1"))
        self.assertEqual((error.code, error.details["line"]), ("NOT_UTF8", 2))
        self.assertIn(f"Text file {self.file} contains chars that cannot be utf-8 decoded. Please "
                      "remove or replace these chars.", error.message)

    def test_line_beyond_the_limit_is_skipped_without_losing_count(self):
        long = b'{"prompt": "' + b"a" * (2 * MAX_LINE_BYTES) + b'", "response": "b"}\n'
        error = self.failure(lines(GOOD) + long + lines([1]))
        self.assertEqual([p["lines"] for p in error.details["problems"]], [[2], [3]])
        self.assertEqual(error.code, "LINE_TOO_LONG")

    def test_all_classes_are_counted_and_the_first_five_of_each_shown(self):
        error = self.failure(lines(*[{"prompt": 1, "response": "b"}] * 7, [1], GOOD, [1]))
        self.assertEqual(error.details["problems"], [
            {"code": "INVALID_PROMPT_TYPE", "count": 7, "lines": [1, 2, 3, 4, 5]},
            {"code": "INVALID_EXAMPLE_TYPE", "count": 2, "lines": [8, 10]}])
        self.assertIn("INVALID_PROMPT_TYPE: 7 in the training data (the first 5)", error.message)

    def test_nothing_is_tokenised_before_the_last_line_is_checked(self):
        with mock.patch.object(ModelTokenizer, "encode_pair", side_effect=AssertionError("tokenised too early")):
            error = self.failure(lines(*[GOOD] * 200, [1]))
        self.assertEqual(error.details["problems"], [{"code": "INVALID_EXAMPLE_TYPE", "count": 1, "lines": [201]}])

    def test_files_that_hold_nothing_or_cannot_be_read(self):
        self.assertEqual(self.failure(b"").code, "NO_EXAMPLES")
        self.assertEqual(self.failure(b"\n \r\n").code, "NO_EXAMPLES")
        self.assertEqual(self.failure(path=self.folder / "no.jsonl").code, "DATA_NOT_READABLE")
        self.assertEqual(self.failure(path="data.xlsx").code, "INVALID_FILE_EXTENSION")

    def test_a_file_that_may_not_be_read_is_told_with_the_systems_word(self):
        self.file.write_bytes(lines(GOOD))
        with mock.patch("builtins.open", side_effect=PermissionError(13, "Permission denied")):
            error = self.failure()
        self.assertEqual(error.code, "DATA_NOT_READABLE")
        self.assertIn("Permission denied", error.message)

    def test_wrong_evaluation_data_say_so(self):
        error = self.failure(lines({"prompt": "a", "answer": "b"}), split="evaluation")
        self.assertEqual(error.message.splitlines()[0],
                         "At least one example in the evaluation dataset has unknown keys. Check the "
                         "documentation for supported data formats.")
        self.assertIn("1 in the evaluation data", error.message)

    def test_a_conversation_that_the_template_refuses(self):
        for template, why in (("{{ raise_exception('no systems here') }}", "no systems here"),
                              ("{{ messages | length }}", "rewrites earlier turns"),
                              ("{{ 1 + 'a' }}", "TypeError")):
            model = make_model(self.folder, "test/" + str(len(why)))
            config = model / "tokenizer_config.json"
            config.write_text(json.dumps({**json.loads(config.read_text()),
                                          "chat_template": template}))
            self.tokenizer = ModelTokenizer(model, 264)
            error = self.failure(lines(GOOD_CHAT))
            self.assertEqual(error.code, "CHAT_TEMPLATE_ERROR")
            self.assertIn(why, error.message)
            self.assertEqual(error.details["problems"][0]["count"], 1)

    def test_a_model_without_a_template_cannot_be_trained_on_conversations(self):
        model = make_model(self.folder, "test/none")
        config = model / "tokenizer_config.json"
        config.write_text(json.dumps({**json.loads(config.read_text()), "chat_template": None}))
        self.tokenizer = ModelTokenizer(model, 264)
        with self.assertRaises(TrainerError) as caught:
            self.read(lines(GOOD_CHAT))
        self.assertEqual(caught.exception.code, "NO_CHAT_TEMPLATE")
        self.assertEqual(len(self.read(lines(GOOD))), 1)

    def test_fewer_samples_than_a_batch(self):
        error = self.failure(lines(*[GOOD] * 7), least=8)
        self.assertEqual(error.message.splitlines()[0], (
            f"Your dataset (name={self.file}, split=train) has 7 samples, but your minimum batch "
            "size is 8 because you are running on 1 gpus and your per device batch size is 8. "
            "Please increase the number of samples in your dataset to at least 8."))
        self.assertEqual(error.code, "NOT_ENOUGH_SAMPLES")


class JsonLinesTest(DataCase):
    def test_bom_crlf_and_blank_lines_are_accepted(self):
        raw = b"\xef\xbb\xbf" + lines(GOOD, GOOD).replace(b"\n", b"\r\n") + b"\r\n"
        self.assertEqual(len(self.read(raw)), 2)

    def test_only_the_response_is_learned(self):
        read = self.read(lines({"prompt": "ab", "completion": "cd"}))
        self.assertEqual(list(read.sample(0)), [257, *self.ids("abcd"), 258])  # bos, text, eos
        self.assertEqual(read.loss_starts[0], 3)

    def test_only_the_last_turn_of_a_chat_is_learned(self):
        read = self.read(lines(chat(("system", "s"), ("user", "u"), ("assistant", "x"),
                                    ("user", "v"), ("assistant", "yz"))))
        learned = list(read.sample(0))[read.loss_starts[0]:]
        self.assertEqual(learned, [*self.ids("yz"), 263])  # text, end of turn

    def test_tools_may_speak_between(self):
        read = self.read(lines(chat(("user", "u"), ("assistant", "x"), ("tool", "t"),
                                    ("assistant", "yz"))))
        self.assertIn("<|tool|>t<|end|>", self.tokenizer._tokenizer.decode(
            list(read.sample(0)), skip_special_tokens=False).replace(" ", ""))
        self.assertEqual(list(read.sample(0))[read.loss_starts[0]:], [*self.ids("yz"), 263])

    def test_long_examples_are_cut_and_those_without_response_dropped(self):
        read = self.read(lines({"prompt": "a" * 20, "response": "b" * 60},
                               {"prompt": "a" * 64, "response": "b"}, GOOD))
        self.assertEqual((len(read), read.length(0)), (2, 64))
        self.assertEqual((read.truncated, read.dropped), (1, 1))

    def ids(self, text):
        return self.tokenizer.encode(text)


class TextFolderTest(DataCase):
    def read_text(self, **options):
        return self.read(path=self.folder, task="CONTINUED_PRETRAIN", **options)

    def test_documents_are_joined_and_cut_into_blocks(self):
        (self.folder / "b.txt").write_text("b" * 10)
        (self.folder / "deep").mkdir()
        (self.folder / "deep" / "a.txt").write_bytes(b"\xef\xbb\xbfcc")
        (self.folder / "no.md").write_text("x")
        read = self.read_text(context=8)
        self.assertEqual([read.length(i) for i in range(len(read))], [8, 8])
        b, c = self.tokenizer.encode("bc")
        self.assertEqual(list(read.ids), [257, *[b] * 10, 258, 257, c, c, 258])
        self.assertEqual(list(read.loss_starts), [1, 1])

    def test_pieces_of_a_large_file_give_the_same_ids(self):
        (self.folder / "b.txt").write_text("word \n" * 50)
        whole = list(self.read_text().ids)
        piece, data._TEXT_PIECE_CHARS = data._TEXT_PIECE_CHARS, 7
        self.addCleanup(setattr, data, "_TEXT_PIECE_CHARS", piece)
        self.assertEqual(list(self.read_text().ids), whole)

    def test_errors(self):
        def failure(**options):
            return self.failure(path=self.folder, task="CONTINUED_PRETRAIN", **options)

        error = failure()
        self.assertEqual(error.code, "NO_TEXT_FILES")
        self.assertIn(f"No text files were found at {self.folder}.", error.message)
        (self.folder / "a.txt").write_text("short")
        self.assertEqual(failure(least=8).code, "NOT_ENOUGH_SAMPLES")
        (self.folder / "z.txt").write_bytes(b"fine\nb\xffd\n")
        error = failure()
        self.assertEqual((error.code, error.details["line"]), ("NOT_UTF8", 2))
        self.assertIn(f"Text file {self.folder}/z.txt contains chars that cannot be utf-8 decoded. "
                      "Please remove or replace these chars.", error.message)
        self.assertEqual(self.failure(path=self.folder / "a.txt", task="CONTINUED_PRETRAIN").code,
                         "DATA_NOT_READABLE")
