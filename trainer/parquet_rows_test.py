import pyarrow
from pyarrow import parquet

from trainer import parquet_rows, spec
from trainer.data import MAX_LINE_BYTES, Reader
from trainer.errors import TrainerError
from trainer.testing import TINY, FolderCase, pairs, write_lines
from trainer.tokenizer import ModelTokenizer

CHAT = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]


class ParquetTest(FolderCase):
    def read(self, path):
        reader = Reader(ModelTokenizer(TINY, 264), 64, "training", lambda: None)
        return reader.read(str(path), spec.INSTRUCTION_FINETUNE, 1)

    def write(self, rows, name="d.parquet", **options):
        path = self.folder / name
        parquet.write_table(pyarrow.Table.from_pylist(rows), path, **options)
        return path

    def failure(self, path):
        with self.assertRaises(TrainerError) as caught:
            self.read(path)
        return caught.exception

    def test_the_same_examples_as_in_json_lines(self):
        rows = pairs(2500)
        expected = self.read(write_lines(self.folder / "d.jsonl", rows))
        found = self.read(self.write(rows, row_group_size=700))
        self.assertEqual(found.fingerprint(), expected.fingerprint())

    def test_messages_as_structures_and_as_json(self):
        expected = self.read(write_lines(self.folder / "d.jsonl", [{"messages": CHAT}]))
        import json
        for value in (CHAT, json.dumps(CHAT)):
            found = self.read(self.write([{"messages": value}]))
            self.assertEqual(found.fingerprint(), expected.fingerprint())

    def test_what_is_wrong_is_told_with_its_row(self):
        rows = pairs(1500)
        rows[1400]["response"] = None
        error = self.failure(self.write(rows))
        self.assertEqual((error.code, error.details["line"]), ("INVALID_RESPONSE_TYPE", 1401))
        error = self.failure(self.write([{"prompt": "a", "answer": "b"}]))
        self.assertEqual(error.code, "UNKNOWN_EXAMPLE_TYPE")
        error = self.failure(self.write([{"messages": "[oops"}]))
        self.assertEqual(error.code, "INVALID_JSON_VALUE")

    def test_a_value_beyond_the_limit(self):
        long = "a" * (MAX_LINE_BYTES + 1)
        chat = [{"role": "user", "content": "b"}, {"role": "assistant", "content": long}]
        for name, rows in (("pair", [*pairs(100), {"prompt": long, "response": "b"}, *pairs(3)]),
                           ("chat", [{"messages": CHAT}] * 100 + [{"messages": chat}])):
            for dictionary in (True, False):
                error = self.failure(self.write(rows, f"{name}.parquet", use_dictionary=dictionary))
                self.assertEqual((error.code, error.details["line"]), ("LINE_TOO_LONG", 101))

    def test_values_of_odd_types(self):
        for kind in ("ns", "us"):  # the first cannot be read without pandas
            column = pyarrow.array([1], pyarrow.timestamp(kind))
            path = self.folder / f"{kind}.parquet"
            parquet.write_table(pyarrow.table({"prompt": column, "response": ["b"]}), path, version="2.6")
            self.assertIn(self.failure(path).code, ("INVALID_PROMPT_TYPE", "INVALID_PARQUET"))

    def test_a_file_that_is_none_or_was_cut(self):
        whole = self.write(pairs(3000), "whole.parquet", row_group_size=1000).read_bytes()
        for name, content in (("none", b"prompt,response\n"), ("empty", b""),
                              ("cut", whole[:len(whole) // 2]),
                              ("spoiled", whole[:200] + b"\xff" * 400 + whole[600:])):
            path = self.folder / f"{name}.parquet"
            path.write_bytes(content)
            with self.subTest(name=name):
                error = self.failure(path)
                self.assertEqual(error.code, "INVALID_PARQUET")
                self.assertNotIn("\n", error.message.splitlines()[0])

    def test_a_batch_of_rows_is_what_is_in_memory(self):
        path = self.write(pairs(parquet_rows.BATCH_ROWS + 1))
        with open(path, "rb") as file:
            rows = parquet_rows.read(file, str(path), MAX_LINE_BYTES)
            self.assertEqual(next(rows)[0], 1)
