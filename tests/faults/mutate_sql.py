#!/usr/bin/env python3
"""Makes small mistakes in the statements of db/queries, one at a time, and sees whether the tests notice.

    tests/faults/mutate_sql.py --bin build/release/bin --seed 1 --count 100 --out /tmp/mutants

The test programs are not built anew: a library that is loaded before libpq (swapped_sql.c) has the changed text prepared
in place of the one it is a change of. What Postgres refuses to prepare is no mutant, and another is drawn. Build the test
programs before without AddressSanitizer, which wants to be loaded first itself. `--file` is the name of a statement.

All tests are run once without a change, and which of them executes which statement is noted, in cases.json; a changed
statement is then given to those tests alone, the quickest first.
"""
import collections
import json
import os
import pathlib
import re
import subprocess
import sys

import mutation
from mutation import NONE, ROOT, SURVIVED, TEST_SECONDS, UNTESTED, Mutant

sys.path.insert(0, str(ROOT / "tools"))
import embed_sql  # noqa: E402

# schema_test is not among them: it has the texts themselves, not what is prepared.
TESTS = ("db_test", "daemon_test", "dispatcher_test", "admission_test", "bad_input_test", "access_test", "lifecycle_test",
         "storm_test", "interleavings_test")
QUICK_MILLISECONDS = 1000
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


# One test: the milliseconds it took, the statements it executed.
Case = collections.namedtuple("Case", "program name milliseconds statements")
RAN = re.compile(r"\[       OK \] (\S+) \((\d+) ms\)")


def cases_of(program, output):
    """The tests of a traced run. What is executed between two tests, by what outlives one, is of the one before."""
    cases, statements = [], set()
    for line in output.splitlines():
        if line.startswith("SQL "):
            (statements if statements is not None else cases[-1].statements).add(line[4:])
        elif line.startswith("[ RUN "):
            statements = statements or set()
        elif match := RAN.match(line):
            cases.append(Case(program, match[1], int(match[2]), statements))
            statements = None
    return cases


class Swapped:
    """The test programs, with one statement's text swapped while it is prepared."""

    def __init__(self, options):
        self.texts = dict(embed_sql.queries(ROOT / "db" / "queries"))
        self.folder = options.out
        self.programs = [options.bin / test for test in TESTS]
        self.cases = []
        self.library = self.folder / "swapped_sql.so"
        subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-Wall", "-o", self.library,
                        pathlib.Path(__file__).with_name("swapped_sql.c"), "-ldl",
                        *subprocess.check_output(["pkg-config", "--cflags", "libpq"], text=True).split()], check=True)

    def environment(self, **variables):
        return {**os.environ, "LD_PRELOAD": str(self.library.resolve()), **variables}

    def killer(self):
        known = self.folder / "cases.json"
        if known.exists():
            self.cases = [Case(pathlib.Path(program), name, milliseconds, set(statements))
                          for program, name, milliseconds, statements in json.loads(known.read_text())]
            return None
        for program in self.programs:
            done = subprocess.run([program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                                  timeout=TEST_SECONDS, errors="replace", env=self.environment(SWAPPED_TRACE="1"))
            failed = re.findall(r"^\[  FAILED  \] (\S+) \(", done.stdout, re.MULTILINE)
            if failed:
                # One that waits for something may be too slow on a machine that does much else: once more.
                print(f"{program.name}: {', '.join(failed)} failed", flush=True)
                if mutation.first_failure([program], ["--gtest_filter=" + ":".join(failed)], self.environment()):
                    return program.name
            self.cases += cases_of(program, done.stdout)
        self.cases.sort(key=lambda case: case.milliseconds)
        known.write_text(json.dumps([[str(case.program), case.name, case.milliseconds, sorted(case.statements)]
                                     for case in self.cases]))
        return None

    def try_mutant(self, mutant):
        lines = self.texts[mutant.file].splitlines()
        assert lines[mutant.line] == mutant.before
        lines[mutant.line] = mutant.after
        text, refused, used = (self.folder / name for name in ("text.sql", "refused", "used"))
        text.write_text("\n".join(lines))
        for mark in (refused, used):
            mark.unlink(missing_ok=True)
        killer = self.first_failure(mutant.file, self.environment(
            SWAPPED_NAME=mutant.file, SWAPPED_TEXT=str(text), SWAPPED_REFUSED=str(refused), SWAPPED_USED=str(used)))
        if refused.exists():
            return NONE
        if not used.exists():
            return UNTESTED
        return f"killed by {killer}" if killer else SURVIVED

    def first_failure(self, statement, environment):
        """What fails first: the quick tests of each program, then the others."""
        cases = [case for case in self.cases if statement in case.statements]
        quick, slow = collections.defaultdict(list), collections.defaultdict(list)
        for case in cases:
            (quick if case.milliseconds < QUICK_MILLISECONDS else slow)[case.program].append(case)
        for group in [*quick.values(), *slow.values()]:
            arguments = ["--gtest_fail_fast", "--gtest_filter=" + ":".join(case.name for case in group)]
            seconds = 30 + 4 * sum(case.milliseconds for case in group) / 1000
            killer = mutation.first_failure([group[0].program], arguments, environment, seconds)
            if killer is not None:
                return killer
        return None


def main():
    parser = mutation.options_of(__doc__)
    parser.add_argument("--bin", type=pathlib.Path, default=ROOT / "build" / "release" / "bin")
    options = parser.parse_args()
    mutants = [mutant for name, sql in embed_sql.queries(ROOT / "db" / "queries")
               if not options.file or name in options.file for mutant in mutants_of(name, sql)]
    return mutation.run("the SQL", mutants, options, Swapped)


if __name__ == "__main__":
    sys.exit(main())
