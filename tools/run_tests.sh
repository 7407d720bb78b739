#!/usr/bin/env bash
# Runs every test of build/dev and the repository's own checks.
set -euo pipefail
cd "$(dirname "$0")/.."
tools/lint.sh
# Debian's gRPC and protobuf are not instrumented; leaks and errors of our own code are reported all the same.
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1:abort_on_error=0}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
# Beside a test with a Postgres of its own, which wait for each other, runs one without.
ctest --test-dir build/dev --parallel 2 --output-on-failure --no-tests=error
