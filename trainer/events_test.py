import contextlib
import io
import json
import unittest.mock

from trainer.control import Control
from trainer.events import MAX_LINE_BYTES, EventWriter
from trainer.testing import FolderCase


class EventWriterTest(FolderCase):
    def written(self, type_, **fields):
        path = self.folder / "events"
        writer = EventWriter(path)
        writer.emit(type_, **fields)
        writer.close()
        return path.read_bytes().splitlines()[-1]

    def test_a_line_is_json_with_version_and_time(self):
        event = json.loads(self.written("eval", text="ü\n", metrics={"a": 1.0, "b": float("nan")}))
        self.assertRegex(event.pop("ts"), r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
        self.assertEqual(event, {"v": 1, "type": "eval", "text": "ü\n", "metrics": {"a": 1.0}})

    def test_bytes_that_are_no_text_are_written_out(self):
        line = self.written("failed", message="caf\udce9", problems=["\ud800"], details={"\udcff": 1})
        self.assertNotIn(b"\\udc", line.replace(b"\\\\udc", b""))
        event = json.loads(line)
        self.assertEqual((event["message"], event["problems"]), ("caf\\udce9", ["\\ud800"]))

    def test_appends(self):
        self.written("a")
        self.written("b")
        self.assertEqual(len((self.folder / "events").read_bytes().splitlines()), 2)

    def test_a_long_silence_is_broken_once_and_only_then(self):
        path = self.folder / "events"
        writer = EventWriter(path, stall_seconds=30)
        with unittest.mock.patch("trainer.events.time.monotonic") as clock:
            clock.return_value = 0.0
            writer.emit("resumed")
            for clock.return_value in (1.0, 9.9, 10.0, 10.1, 19.9, 25.0):
                writer.working()
        writer.close()
        types = [json.loads(line)["type"] for line in path.read_bytes().splitlines()]
        self.assertEqual(types, ["resumed", "working", "working"])

    def test_a_line_never_exceeds_the_limit(self):
        line = self.written("failed", message="\x00" * MAX_LINE_BYTES, problems=["x"] * 100000)
        self.assertLessEqual(len(line) + 1, MAX_LINE_BYTES)
        self.assertTrue(json.loads(line)["message"].endswith("[shortened]"))


class ControlTest(FolderCase):
    def ask(self, text):
        new = self.folder / "new"
        new.write_text(text)
        new.rename(self.folder / "control")

    def test_follows_replacements_of_the_file(self):
        control = Control(self.folder / "control")
        self.assertIsNone(control.stop_kind())
        self.ask('{"stop":null,"checkpoint_now":1}')
        self.assertTrue(control.take_checkpoint_request())
        self.assertFalse(control.take_checkpoint_request())
        self.ask('{"stop":"pause","checkpoint_now":1}')
        self.assertEqual(control.stop_kind(), "pause")
        self.assertFalse(control.take_checkpoint_request())
        self.ask('{"stop":"cancel"}')
        self.assertEqual(control.stop_kind(), "cancel")

    def test_requests_to_an_earlier_attempt_are_not_served(self):
        self.ask('{"checkpoint_now":4}')
        control = Control(self.folder / "control")
        self.assertFalse(control.take_checkpoint_request())

    def test_nonsense_is_ignored(self):
        control = Control(self.folder / "control")
        for text in ("{", "[]", '{"stop":"explode","checkpoint_now":"x"}', '{"stop":7}'):
            self.ask(text)
            with contextlib.redirect_stderr(io.StringIO()):
                self.assertIsNone(control.stop_kind())
        self.assertIsNone(Control(None).stop_kind())
