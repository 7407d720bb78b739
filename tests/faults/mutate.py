#!/usr/bin/env python3
"""Makes small mistakes in the decisions of queue/, one at a time, and sees whether the tests notice.

    tests/faults/mutate.py --seed 1 --count 200 --out /tmp/mutants

builds a copy of the checkout under --out, and for each mutant one file of it anew. A mutant is killed when queue_test
or model_test fails, or does not end in time; one that does not compile is none and another is drawn. Survivors are
listed with what was changed: each is a test that is missing, or a change that changes nothing.
"""
import re
import shutil
import subprocess
import sys

import mutation
from mutation import NONE, ROOT, SURVIVED, Mutant

TESTS = ("queue_test", "model_test")
# What the model's own mistakes are for is the model.
FILTER = "--gtest_filter=-*Mistake*"
# What is copied: the sources, and neither builds nor history.
LEFT_OUT = ("build", ".git", "web", "__pycache__")

# (name, what is looked for, what stands there instead). One place of a line at a time.
REPLACEMENTS = (
    ("equal", r"==", "!="),
    ("unequal", r"!=", "=="),
    ("less", r"(?<![<\-\w:])<(?![<=:\w>])|(?<= )<(?= )", "<="),
    ("at most", r"<=", "<"),
    ("greater", r"(?<= )>(?= )", ">="),
    ("at least", r">=", ">"),
    ("and", r"&&", "||"),
    ("or", r"\|\|", "&&"),
    ("not", r"!(?=[\w(])", ""),
    ("increment", r"\+\+(?=\w)", "--"),
    ("plus", r"(?<= )\+(?= )", "-"),
    ("minus", r"(?<= )-(?= )", "+"),
    ("true", r"\btrue\b", "false"),
    ("false", r"\bfalse\b", "true"),
    ("number", r"(?<![\w.'\"%])(\d+)(?![\w.'\"])", lambda match: str(int(match[1]) + 1)),
    ("state", r"\bRunState::k(?!Paused\b)\w+", "RunState::kPaused"),
    ("transition", r"\bRunTransition::k(?!Pause\b)\w+", "RunTransition::kPause"),
    ("attribution", r"\bAttribution::k(?!Network\b)\w+", "Attribution::kNetwork"),
    ("stop", r"\bStopKind::k(?!Cancel\b)\w+", "StopKind::kCancel"),
)
# Statements that are taken out whole.
STATEMENT = re.compile(r"^\s*(?!\s|return|if|for|while|case|default|using|const |auto |std::|absl::|int|bool|constexpr|\w+ \w+ =)"
                       r"[\w\->.\[\]():*, ]+(?:=|\+=|\()[^{}]*;\s*(?://.*)?$")
# Where a mistake would be a matter of words, or is none.
NOT_CODE = re.compile(r'^\s*(//|#|")|^namespace|^}  // namespace|return "[^"]*";|LogLevel|static_assert')


def code_of(line):
    """The line without strings and comment, of the same length: what may be changed stays where it was."""
    blank = lambda match: " " * len(match[0])
    return re.sub(r'"(?:\\.|[^"\\])*"', blank, re.sub(r"//.*", blank, line))


def mutants_of(path, name):
    found = []
    for number, line in enumerate(path.read_text().splitlines()):
        if NOT_CODE.search(line) or not line.strip():
            continue
        for kind, after in mutation.replaced(line, code_of(line), REPLACEMENTS):
            found.append(Mutant(name, number, kind, line, after))
        if STATEMENT.match(line):
            found.append(Mutant(name, number, "taken out", line, ""))
    return found


class Copy:
    """A copy of the checkout that is built with the mutants."""

    def __init__(self, folder):
        self.tree = folder / "tree"
        self.build = folder / "build"
        if self.tree.exists():
            shutil.rmtree(self.tree)
        shutil.copytree(ROOT, self.tree, ignore=shutil.ignore_patterns(*LEFT_OUT), symlinks=True)
        self.run("cmake", "-S", self.tree, "-B", self.build, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release",
                 "-DCMAKE_CXX_FLAGS=-O2 -w")
        if not self.make():
            raise SystemExit("the unchanged checkout does not build")

    def run(self, *argv):
        done = subprocess.run([str(arg) for arg in argv], capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(f"{' '.join(map(str, argv))}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")

    def make(self):
        return subprocess.run(["cmake", "--build", self.build, "-j2", "--target", *TESTS],
                              capture_output=True).returncode == 0

    def killer(self):
        return mutation.first_failure([self.build / "bin" / test for test in TESTS], [FILTER])

    def try_mutant(self, mutant):
        """`killed by ...`, `survived` or `none`."""
        path = self.tree / mutant.file
        original = path.read_text()
        lines = original.splitlines()
        lines[mutant.line] = mutant.after
        path.write_text("\n".join(lines) + "\n")
        try:
            if not self.make():
                return NONE
            killer = self.killer()
            return f"killed by {killer}" if killer else SURVIVED
        finally:
            path.write_text(original)


def main():
    options = mutation.options_of(__doc__).parse_args()
    files = options.file or [path.name for path in sorted((ROOT / "queue").glob("*.cc"))
                             if not path.name.endswith("_test.cc")]
    mutants = [mutant for name in files for mutant in mutants_of(ROOT / "queue" / name, f"queue/{name}")]
    return mutation.run("queue/", mutants, options, lambda options: Copy(options.out))


if __name__ == "__main__":
    sys.exit(main())
