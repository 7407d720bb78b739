#!/usr/bin/env python3
"""Rules of CONTRIBUTING.md that a machine can check; each message says the rule and the remedy."""
import pathlib
import re
import subprocess
import sys

MAX_LINES = 600
MAX_COLUMNS = 120
# Time comes in as an argument or through base/clock.h.
BANNED = [
    (re.compile(r"\babsl::Now\(\)|\bsleep_for\b|\bstd::this_thread::sleep"), "take the time from a Clock, and wait on what is waited for",
     {"base/clock.cc"}),
    (re.compile(r"\b(TODO|FIXME|XXX)\b"), "finish it, or write it down where plans are kept", set()),
    (re.compile(r"\bstd::mutex\b|\babsl::Mutex\b"), "use base/mutex.h, whose annotations are checked", {"base/mutex.h"}),
    (re.compile(r"#include <pqxx"), "Postgres stays in db/", None),
]


def tracked(*patterns):
    return subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns],
                          capture_output=True, check=True, text=True).stdout.split()


def check_code(broken):
    for file in tracked("*.cc", "*.h"):
        lines = pathlib.Path(file).read_text().splitlines()
        if len(lines) > MAX_LINES:
            broken.append(f"{file}: {len(lines)} lines; at most {MAX_LINES}: split along a decision")
        if file.endswith(".h") and not any(line == "#pragma once" for line in lines):
            broken.append(f"{file}: a header begins with #pragma once")
        for number, line in enumerate(lines, start=1):
            if len(line) > MAX_COLUMNS:
                broken.append(f"{file}:{number}: longer than {MAX_COLUMNS} columns")
            for pattern, remedy, exempt in BANNED:
                allowed = file.startswith(("db/", "tests/support/")) if exempt is None else file in exempt
                if not allowed and pattern.search(line):
                    broken.append(f"{file}:{number}: {pattern.search(line)[0]}: {remedy}")


def check_documents(broken):
    for file in tracked("*.md"):
        path = pathlib.Path(file)
        text = re.sub(r"```.*?```", "", path.read_text(), flags=re.S)
        titles = re.findall(r"^# ", text, re.M)
        if len(titles) != 1:
            broken.append(f"{file}: {len(titles)} titles; exactly one `# Title`")
        for target in re.findall(r"\]\(([^)#\s]+)", text):
            if "://" not in target and not (path.parent / target).exists():
                broken.append(f"{file}: dead link {target}")


def check_tests_are_built(broken):
    for file in tracked("*_test.cc"):
        room = pathlib.Path(file).parent
        cmake = room / "CMakeLists.txt"
        if not cmake.exists() or pathlib.Path(file).name not in cmake.read_text():
            broken.append(f"{file}: belongs to no target, so it never runs: name it in {cmake}")


def check_protos(broken):
    """Every message, field, enum value, service and method has a comment above it."""
    element = re.compile(r"\s*(message|enum|service|rpc|oneof|optional|repeated|map<|[A-Za-z_.]+\s+\w+\s*=|[A-Z_0-9]+\s*=\s*\d+;)")
    for file in tracked("proto/*.proto"):
        lines = pathlib.Path(file).read_text().splitlines()
        for number, line in enumerate(lines, start=1):
            if not element.match(line) or line.lstrip().startswith(("//", "option", "syntax", "import", "package")):
                continue
            if not lines[number - 2].lstrip().startswith("//"):
                broken.append(f"{file}:{number}: `{line.strip()[:50]}` has no comment above it")


def main() -> int:
    broken = []
    for check in (check_code, check_documents, check_tests_are_built, check_protos):
        check(broken)
    if broken:
        print("\n".join(broken), file=sys.stderr)
    return 1 if broken else 0


sys.exit(main())
