"""What the mutations of queue/ and of the SQL have in common: places to change, the order, the report."""
import argparse
import collections
import json
import pathlib
import random
import re
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
TEST_SECONDS = 600
# What a mutant that cannot be tried is: it does not compile, or Postgres does not take it.
NONE = "none"
SURVIVED = "survived"
# No test comes to it: a survivor too.
UNTESTED = "not reached by a test"

# One line, and what stands in its place; `file` is where a reader finds it.
Mutant = collections.namedtuple("Mutant", "file line kind before after")


def replaced(line, code, replacements):
    """(kind, line) for each place of `code`, which is the line with all blanked that may not be changed."""
    for kind, pattern, instead in replacements:
        for match in re.finditer(pattern, code):
            text = instead(match) if callable(instead) else instead
            yield kind, line[:match.start()] + text + line[match.end():]


def first_failure(programs, arguments, environment=None, seconds=TEST_SECONDS):
    """The first of the test programs that fails or does not end in time; None where all pass."""
    for program in programs:
        try:
            done = subprocess.run([program, *arguments], capture_output=True, timeout=seconds, env=environment)
        except subprocess.TimeoutExpired:
            return f"{program.name} (no end)"
        if done.returncode != 0:
            return program.name
    return None


def describe(mutant):
    after = mutant.after.strip() or "(nothing)"
    return f"{mutant.file}:{mutant.line + 1} {mutant.kind}: `{mutant.before.strip()}` -> `{after}`"


def report(title, results, seed):
    counts = collections.Counter(result for _, result in results)
    killed = sum(count for result, count in counts.items() if result.startswith("killed"))
    lines = [f"Mutants of {title}, seed {seed}: {len(results)} tried, {killed} killed "
             f"({100 * killed / max(1, len(results)):.1f} %)."]
    lines += [f"  {result}: {count}" for result, count in sorted(counts.items())]
    lines += ["", "Survivors:"] + [f"  {describe(mutant)}" for mutant, result in results if result in (SURVIVED, UNTESTED)]
    return "\n".join(lines) + "\n"


def options_of(description):
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=200, help="mutants to try; 0 for all")
    parser.add_argument("--file", action="append", help="only this file; repeat")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--list", action="store_true", help="only list them")
    return parser


def run(title, mutants, options, make_subject):
    """Tries them in the order that the seed gives; goes on where it was ended in the same folder. A subject has `killer()`, of what is unchanged, and `try_mutant()`."""
    random.Random(options.seed).shuffle(mutants)
    if options.list:
        print("\n".join(map(describe, mutants)))
        return 0
    options.out.mkdir(parents=True, exist_ok=True)
    subject = make_subject(options)
    if (killer := subject.killer()) is not None:
        raise SystemExit(f"{killer} fails without any mutant")
    results = []
    done = options.out / "results.json"
    if done.exists():
        results = [(Mutant(*line[:-1]), line[-1]) for line in json.loads(done.read_text())]
    tried = {mutant for mutant, _ in results}
    for mutant in mutants:
        if mutant in tried:
            continue
        if options.count and len(results) == options.count:
            break
        began = time.monotonic()
        result = subject.try_mutant(mutant)
        print(f"{result} ({time.monotonic() - began:.0f} s): {describe(mutant)}", flush=True)
        if result != NONE:
            results.append((mutant, result))
            (options.out / "report.txt").write_text(report(title, results, options.seed))
            done.write_text(json.dumps([[*mutant, result] for mutant, result in results]))
    print(report(title, results, options.seed))
    return 0
