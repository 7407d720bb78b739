#!/usr/bin/env python3
"""docs/calling.md and docs/service_config.json say what the source does. Needs nothing built."""
import json
import pathlib
import re
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
# The rooms whose errors reach a caller.
ROOMS = ("base", "queue", "db", "artifacts", "daemon")
# Reasons that only whoever starts a program sees, on its standard error.
AT_START = {"ALREADY_RUNNING", "BAD_CONFIG", "BAD_FLAG", "CANNOT_LISTEN", "DATABASE_UNREACHABLE", "OUT_OF_FILES",
            "POSTGRES_MISSING", "POSTGRES_NOT_READY", "POSTGRES_TOO_OLD", "POSTGRES_USER_MISSING", "SCHEMA_NEWER", "SCHEMA_OLDER",
            "TRAINER_MISSING", "TRAINER_PYTHON_MISSING"}
# Words of the source that look like a reason and are none: outcomes of statements, variables of the environment, ...
OTHER_WORDS = {"ADMITTED", "FINETUNED_", "HOME", "MODEL_TAKEN", "NONE", "NULL", "PGCONNECT_TIMEOUT", "PGTARGETSESSIONATTRS",
               "QUOTA_REACHED", "REPLAYED", "USER", "UTF8", "XDG_DATA_HOME"}
REASON = r'"([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*)"'
# How the source makes errors: with a code, by a function that has one, and as a violation, whose reason comes last. A
# reason that is handed on in a variable has no code here; then it is enough that the source has the word.
WITH_CODE = re.compile(r"MakeError\(\s*absl::StatusCode::k(\w+),\s*" + REASON)
BY_FUNCTION = {"UNAVAILABLE": re.compile(r"\bUnavailable(?:Error)?\(\s*" + REASON),
               "UNAUTHENTICATED": re.compile(r"\bUnauthenticated\(\s*" + REASON)}
VIOLATION = re.compile(r"(?:(?<=,)|reason =)\s*" + REASON + r"\s*[})]")
WORD = re.compile(r'"([A-Z][A-Z0-9_]{3,})"')
# A table's row: code, reason, and what else there is to say.
ROW = re.compile(r"^\| ([A-Z_]+) \| `([A-Z0-9_]+)` \|", re.M)


def upper_snake(name):
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).upper()


def sources():
    return [path.read_text() for room in ROOMS for path in sorted((ROOT / room).glob("*.[ch]*"))
            if not path.name.endswith("_test.cc")]


def errors_of_the_source():
    """(code, reason) of the errors that the source makes."""
    errors = set()
    for text in sources():
        errors |= {(upper_snake(code), reason) for code, reason in WITH_CODE.findall(text)}
        for code, pattern in BY_FUNCTION.items():
            errors |= {(code, reason) for reason in pattern.findall(text)}
        if "InvalidArgument(" in text or re.search(r"[Cc]hecker|check\b", text):
            errors |= {("INVALID_ARGUMENT", reason) for reason in VIOLATION.findall(text)}
    return errors


def words_of_runs():
    """States, events and the like, and the codes of failures of runs."""
    protos = "".join(path.read_text() for path in (ROOT / "proto/finetuned/v1").glob("*.proto"))
    return (set(re.findall(r"^\s+([A-Z][A-Z0-9_]*) = \d+;", protos, re.M))
            | set(re.findall(r"`([A-Z_]{4,})`", (ROOT / "docs/run-lifecycle.md").read_text()))
            | {"MODEL_NOT_REGISTERED"})


def methods():
    """(service, method) of the services that users call, and whether each is a stream."""
    found = {}
    for path in sorted((ROOT / "proto/finetuned/v1").glob("*.proto")):
        service = ""
        for line in path.read_text().splitlines():
            service = (re.match(r"service (\w+)", line) or [None, service])[1]
            rpc = re.match(r"\s+rpc (\w+)\((stream )?\w+\) returns \((stream )?", line)
            if rpc and service != "WorkerService":
                found[f"finetuned.v1.{service}", rpc[1]] = bool(rpc[2] or rpc[3])
    return found


class CallingTest(unittest.TestCase):
    def test_the_tables_of_errors_are_those_of_the_source(self):
        documented = ROW.findall((ROOT / "docs/calling.md").read_text())
        self.assertEqual(len(documented), len(set(documented)), "a row is there twice")
        reasons = {reason for _, reason in documented}
        errors = {error for error in errors_of_the_source() if error[1] not in AT_START}
        self.assertGreater(len(errors), 50, "the patterns find next to nothing")
        words = {word for text in sources() for word in WORD.findall(text)}
        known = {reason for _, reason in errors}
        self.assertEqual(sorted(errors - set(documented)), [], "docs/calling.md does not have these")
        self.assertEqual([(code, reason) for code, reason in documented
                          if reason not in words or (reason in known and (code, reason) not in errors)], [],
                         "nothing in the source makes these")
        self.assertEqual(sorted(words - reasons - words_of_runs() - AT_START - OTHER_WORDS
                                - {word for word in words if word.startswith("FINETUNED_")}), [],
                         "are these reasons? To docs/calling.md then, or to OTHER_WORDS")
        self.assertEqual(sorted((AT_START | OTHER_WORDS) - words), [], "the source does not have these any more")

    def test_the_service_config_names_every_call_once_and_retries_what_may_be_repeated(self):
        config = json.loads((ROOT / "docs/service_config.json").read_text())
        named = [(name["service"], name["method"]) for one in config["methodConfig"] for name in one["name"]]
        self.assertEqual(len(named), len(set(named)))
        # The caller resumes streams: a library would begin again with the first request.
        self.assertEqual(sorted(named), sorted(name for name, stream in methods().items() if not stream))
        for one in config["methodConfig"]:
            repeatable = {name["method"] for name in one["name"]
                          if name["method"].startswith(("Get", "List", "Read"))
                          or name["method"] in ("CreateRun", "CancelRuns", "PauseRun", "DrainWorker")}
            policy = one.get("retryPolicy")
            self.assertEqual(repeatable, {name["method"] for name in one["name"]} if policy else set())
            if policy:
                self.assertEqual(policy["retryableStatusCodes"], ["UNAVAILABLE"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
