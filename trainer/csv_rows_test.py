"""Comma-separated values are the same data as JSON Lines, and their faults have a line."""

import csv
import io
import json

from trainer import data
from trainer.data_test import DataCase, lines

PAIRS = [{"prompt": "a, \"b\"", "response": "c"}, {"prompt": "two\nlines", "response": "é"},
         {"prompt": "a", "response": "b"}]
CHAT = {"messages": [{"role": "user", "content": "a, \"b\""}, {"role": "assistant", "content": "c"}]}


def rows(*examples, header=("prompt", "response")) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(header)
    for example in examples:
        writer.writerow([v if isinstance(v, str) else json.dumps(v) for v in example.values()])
    return text.getvalue().encode()


class CsvTest(DataCase):
    def setUp(self):
        super().setUp()
        self.json_file, self.file = self.file, self.folder / "train.csv"

    def test_gives_what_the_same_json_lines_give(self):
        for content, examples in (
                (rows(*PAIRS), PAIRS),
                (b"\xef\xbb\xbf" + rows(*PAIRS).replace(b"\r\n", b"\n\n"), PAIRS),
                (rows(*PAIRS, header=("prompt", "completion")), PAIRS),
                (rows(CHAT, header=("messages",)), [CHAT])):
            with self.subTest(content=content):
                self.json_file.write_bytes(lines(*examples))
                expected = self.read(path=self.json_file)
                self.assertEqual(self.read(content).fingerprint(), expected.fingerprint())

    def test_faults_have_their_line(self):
        good = rows(*PAIRS)  # five lines: one value has a line break
        for content, code, line, text in (
                (good + b"a\r\n", "INVALID_CSV", 6, "1 values where the header names 2 columns"),
                (good + b"a,b,c\r\n", "INVALID_CSV", 6, "3 values where"),
                (good + b'"a"b,c\r\n', "INVALID_CSV", 6, "expected after"),
                (good + b'a,"never closed\r\nx,y\r\n', "INVALID_CSV", 6, "unexpected end of data"),
                (good + b"a,\xff\r\n", "NOT_UTF8", 6, "cannot be utf-8 decoded"),
                (b"question,answer\r\na,b\r\n", "UNKNOWN_EXAMPLE_TYPE", 1, "{'question', 'answer'}"),
                (b"prompt,prompt\r\na,b\r\n", "UNKNOWN_EXAMPLE_TYPE", 1, "{'prompt', 'prompt'}"),
                (b"messages\r\nnope\r\n", "INVALID_JSON_VALUE", 2, "at byte 1"),
                (b"messages\r\n{}\r\n", "INVALID_MESSAGES_TYPE", 2, "<class 'dict'>"),
                (b"prompt,response\r\n", "NO_EXAMPLES", None, str(self.file)),
                (b"", "NO_EXAMPLES", None, str(self.file))):
            with self.subTest(content=content[-40:]):
                error = self.failure(content)
                self.assertEqual((error.code, error.details.get("line")), (code, line))
                self.assertIn(text, error.message)

    def test_a_value_has_a_limit(self):
        error = self.failure(b"prompt,response\na," + b"b" * (data.MAX_LINE_BYTES + 1) + b"\n")
        self.assertEqual((error.code, error.details["line"]), ("INVALID_CSV", 2))
        self.assertIn("field limit", error.message)

    def test_all_faults_of_rows_are_listed(self):
        error = self.failure(b"prompt,response\na\nb,c\nd,e,f\n")
        self.assertEqual(error.details["problems"],
                         [{"code": "INVALID_CSV", "count": 2, "lines": [2, 4]}])
