#!/usr/bin/env python3
"""Holds every #include against the plan of who may include whom.

Says which arrow a change broke. The same plan is in ARCHITECTURE.md.
"""
import pathlib
import re
import subprocess
import sys

# Room: rooms it may include beside itself. Generated headers (finetuned/, google/) count as `proto`.
ALLOWED = {
    "base": set(),
    "artifacts": {"base"},
    "queue": {"base"},
    "db": {"base", "queue"},
    "daemon": {"base", "artifacts", "queue", "db", "proto"},
    "worker": {"base", "artifacts", "proto"},
    "cli": {"base", "proto"},
    "tests": {"base", "artifacts", "queue", "db", "daemon", "worker", "cli", "proto"},
}
# Libraries that only some rooms may know.
LIBRARIES = {
    "pqxx/": {"db", "tests"},
    "grpcpp/": {"base", "daemon", "worker", "cli", "tests"},
    "prometheus/": {"daemon"},
    "httplib.h": {"daemon"},
    "CLI/": {"daemon", "worker", "cli"},
    "spdlog/": {"base"},
    "yaml-cpp/": {"base", "cli"},
    "openssl/": {"base"},
}
# Tests beside the code may use the fixtures and the generated messages.
TEST_EXTRA = {"tests", "proto"}


def main() -> int:
    broken = []
    files = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.cc", "*.h"],
                           capture_output=True, check=True, text=True).stdout.split()
    for file in files:
        room = file.split("/")[0]
        if room not in ALLOWED:
            broken.append(f"{file}: the room {room}/ is not in the plan (tools/check_layering.py)")
            continue
        is_test = file.endswith(("_test.cc", "test_support.h", "testing.h"))
        allowed = ALLOWED[room] | {room} | (TEST_EXTRA if is_test else set())
        for number, line in enumerate(pathlib.Path(file).read_text().splitlines(), start=1):
            match = re.match(r'\s*#include\s+["<]([^">]+)[">]', line)
            if not match:
                continue
            path = match[1]
            first = path.split("/")[0]
            target = "proto" if path.startswith("finetuned/") else first
            if target in ALLOWED | {"proto": set()} and target not in allowed:
                broken.append(f"{file}:{number}: {room}/ may not include {target}/ ({path})")
            for library, rooms in LIBRARIES.items():
                if path.startswith(library) and room not in rooms and not is_test:
                    broken.append(f"{file}:{number}: {room}/ may not know {library[:-1]} ({path})")
    print("\n".join(broken), file=sys.stderr) if broken else None
    return 1 if broken else 0


sys.exit(main())
