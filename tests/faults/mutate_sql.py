#!/usr/bin/env python3
"""Makes small mistakes in the statements of db/queries, one at a time, and sees whether the tests notice.

    tests/faults/mutate_sql.py --bin build/release/bin --seed 1 --count 100 --out /tmp/mutants

The test programs are not built anew: a library that is loaded before libpq (swapped_sql.c) has the changed text prepared
in place of the one it is a change of. What Postgres refuses to prepare is no mutant, and another is drawn. Build the test
programs before without AddressSanitizer, which wants to be loaded first itself. `--file` is the name of a statement.
"""
import os
import pathlib
import re
import subprocess
import sys

import mutation
from mutation import NONE, ROOT, SURVIVED, Mutant

sys.path.insert(0, str(ROOT / "tools"))
import embed_sql  # noqa: E402

# What notices soonest goes first. schema_test has the texts themselves, not what is prepared.
TESTS = ("dispatcher_test", "admission_test", "bad_input_test", "access_test", "lifecycle_test", "storm_test",
         "interleavings_test")
STATES = ("PENDING", "QUEUED", "STARTING", "RUNNING", "TERMINATING", "PAUSED", "COMPLETED", "FAILED", "STOPPED")

# (name, what is looked for, what stands there instead). One place of a line at a time.
REPLACEMENTS = (
    ("equal", r"(?<= )=(?= )", "<>"),
    ("unequal", r"(?<= )<>(?= )", "="),
    ("less", r"(?<= )<(?= )", "<="),
    ("less turned", r"(?<= )<(?= )", ">"),
    ("at most", r"(?<= )<=(?= )", "<"),
    ("greater", r"(?<= )>(?= )", ">="),
    ("greater turned", r"(?<= )>(?= )", "<"),
    ("at least", r"(?<= )>=(?= )", ">"),
    ("and", r"\band\b", "or"),
    ("or", r"\bor\b", "and"),
    ("not", r"\bnot (?=in\b|exists\b|a\.|o\.|waits|draining)", ""),
    ("is null", r"\bis null\b", "is not null"),
    ("is not null", r"\bis not null\b", "is null"),
    ("exists", r"(?<!not )\bexists(?= \()", "not exists"),
    ("plus", r"(?<= )\+(?= )", "-"),
    ("minus", r"(?<= )-(?= )", "+"),
    ("number", r"(?<![\w.'$:])(\d+)(?![\w.'])(?!::)", lambda match: str(int(match[1]) + 1)),
    ("true", r"\btrue\b", "false"),
    ("false", r"\bfalse\b", "true"),
    ("greatest", r"\bgreatest\(", "least("),
    ("least", r"\bleast\(", "greatest("),
    ("state", r"'(?:%s)'" % "|".join(STATES), lambda match: "'PAUSED'" if match[0] != "'PAUSED'" else "'RUNNING'"),
    ("no lock", r"\bfor (?:no key )?update(?: of \w+)?\b|\bfor share\b", ""),
    ("no skip", r"\bskip locked\b", ""),
    ("descending", r"\bdesc\b", ""),
    ("no limit", r"\blimit \S+(?=\s|\)|$)", ""),
    ("outer", r"\bleft join\b", "join"),
    ("all", r"\bunion all\b", "union"),
    ("no distinct", r"(?<=select )distinct (?!on)", ""),
    ("filter", r" filter \(where [^()]*\)", ""),
    ("conflict", r"\bon conflict (?:\([^)]*\) )?do nothing\b", ""),
)
# A condition or a set column of its own line, taken out whole.
LINE = re.compile(r"^\s*(?:and .*[^(,]|\w+ = .*,)$")


def code_of(line):
    """The line without what stands in quotes, but for states."""
    return re.sub(r"'(?!(?:%s)')[^']*'" % "|".join(STATES), lambda match: " " * len(match[0]),
                  re.sub(r"--.*", lambda match: " " * len(match[0]), line))


def mutants_of(name, sql):
    found = []
    for number, line in enumerate(sql.splitlines()):
        for kind, after in mutation.replaced(line, code_of(line), REPLACEMENTS):
            found.append(Mutant(name, number, kind, line, after))
        if LINE.match(line):
            found.append(Mutant(name, number, "taken out", line, ""))
    return found


class Swapped:
    """The test programs, with one statement's text swapped while it is prepared."""

    def __init__(self, options):
        self.texts = dict(embed_sql.queries(ROOT / "db" / "queries"))
        self.folder = options.out
        self.programs = [options.bin / test for test in TESTS]
        self.library = self.folder / "swapped_sql.so"
        subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-Wall", "-o", self.library,
                        pathlib.Path(__file__).with_name("swapped_sql.c"), "-ldl",
                        *subprocess.check_output(["pkg-config", "--cflags", "libpq"], text=True).split()], check=True)

    def killer(self, programs=None):
        return mutation.first_failure(programs or self.programs, ["--gtest_fail_fast"])

    def try_mutant(self, mutant):
        lines = self.texts[mutant.file].splitlines()
        assert lines[mutant.line] == mutant.before
        lines[mutant.line] = mutant.after
        text, refused, used = (self.folder / name for name in ("text.sql", "refused", "used"))
        text.write_text("\n".join(lines))
        for mark in (refused, used):
            mark.unlink(missing_ok=True)
        environment = {**os.environ, "LD_PRELOAD": str(self.library.resolve()), "SWAPPED_NAME": mutant.file,
                       "SWAPPED_TEXT": str(text), "SWAPPED_REFUSED": str(refused), "SWAPPED_USED": str(used)}
        killer = mutation.first_failure(self.programs, ["--gtest_fail_fast"], environment)
        if refused.exists():
            return NONE
        if not used.exists():
            raise SystemExit(f"{mutant.file} was never prepared: the changes have not reached the tests")
        return f"killed by {killer}" if killer else SURVIVED


def main():
    parser = mutation.options_of(__doc__)
    parser.add_argument("--bin", type=pathlib.Path, default=ROOT / "build" / "release" / "bin")
    options = parser.parse_args()
    mutants = [mutant for name, sql in embed_sql.queries(ROOT / "db" / "queries")
               if not options.file or name in options.file for mutant in mutants_of(name, sql)]
    return mutation.run("the SQL", mutants, options, Swapped)


if __name__ == "__main__":
    sys.exit(main())
