#!/usr/bin/env python3
"""Makes small mistakes in the decisions of queue/, one at a time, and sees whether the tests notice.

    tests/faults/mutate.py --seed 1 --count 200 --out /tmp/mutants

builds a copy of the checkout under --out, and for each mutant one file of it anew. A mutant is killed when queue_test
or model_test fails, or does not end in time; one that does not compile is none and another is drawn. Survivors are
listed with what was changed: each is a test that is missing, or a change that changes nothing.
"""
import argparse
import collections
import json
import pathlib
import random
import re
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
TESTS = ("queue_test", "model_test")
# What the model's own mistakes are for is the model.
FILTER = "--gtest_filter=-*Mistake*"
TEST_SECONDS = 120
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

Mutant = collections.namedtuple("Mutant", "file line kind before after")


def code_of(line):
    """The line without strings and comment, of the same length: what may be changed stays where it was."""
    blank = lambda match: " " * len(match[0])
    return re.sub(r'"(?:\\.|[^"\\])*"', blank, re.sub(r"//.*", blank, line))


def mutants_of(path, name):
    found = []
    for number, line in enumerate(path.read_text().splitlines()):
        if NOT_CODE.search(line) or not line.strip():
            continue
        code = code_of(line)
        for kind, pattern, instead in REPLACEMENTS:
            for match in re.finditer(pattern, code):
                text = instead(match) if callable(instead) else instead
                found.append(Mutant(name, number, kind, line, line[:match.start()] + text + line[match.end():]))
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
        """The test that fails; None where all pass."""
        for test in TESTS:
            try:
                done = subprocess.run([self.build / "bin" / test, FILTER], capture_output=True, timeout=TEST_SECONDS)
            except subprocess.TimeoutExpired:
                return f"{test} (no end)"
            if done.returncode != 0:
                return test
        return None

    def try_mutant(self, mutant):
        """`killed by ...`, `survived` or `none`."""
        path = self.tree / mutant.file
        original = path.read_text()
        lines = original.splitlines()
        lines[mutant.line] = mutant.after
        path.write_text("\n".join(lines) + "\n")
        try:
            if not self.make():
                return "none"
            killer = self.killer()
            return f"killed by {killer}" if killer else "survived"
        finally:
            path.write_text(original)


def describe(mutant):
    after = mutant.after.strip() or "(nothing)"
    return f"{mutant.file}:{mutant.line + 1} {mutant.kind}: `{mutant.before.strip()}` -> `{after}`"


def report(results, seed):
    counts = collections.Counter(result for _, result in results)
    killed = sum(count for result, count in counts.items() if result.startswith("killed"))
    lines = [f"Mutants of queue/, seed {seed}: {len(results)} tried, {killed} killed "
             f"({100 * killed / max(1, len(results)):.1f} %)."]
    lines += [f"  {result}: {count}" for result, count in sorted(counts.items())]
    lines += ["", "Survivors:"] + [f"  {describe(mutant)}" for mutant, result in results if result == "survived"]
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=200, help="mutants to try; 0 for all")
    parser.add_argument("--file", action="append", help="only this file of queue/; repeat")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--list", action="store_true", help="only list them")
    options = parser.parse_args()
    files = options.file or [path.name for path in sorted((ROOT / "queue").glob("*.cc"))
                             if not path.name.endswith("_test.cc")]
    mutants = [mutant for name in files for mutant in mutants_of(ROOT / "queue" / name, f"queue/{name}")]
    random.Random(options.seed).shuffle(mutants)
    if options.list:
        print("\n".join(map(describe, mutants)))
        return 0
    options.out.mkdir(parents=True, exist_ok=True)
    copy = Copy(options.out)
    if (killer := copy.killer()) is not None:
        raise SystemExit(f"{killer} fails without any mutant")
    results = []
    for mutant in mutants:
        if options.count and len(results) == options.count:
            break
        began = time.monotonic()
        result = copy.try_mutant(mutant)
        print(f"{result} ({time.monotonic() - began:.0f} s): {describe(mutant)}", flush=True)
        if result != "none":
            results.append((mutant, result))
            (options.out / "report.txt").write_text(report(results, options.seed))
    print(report(results, options.seed))
    (options.out / "results.json").write_text(json.dumps([[*mutant, result] for mutant, result in results]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
