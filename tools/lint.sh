#!/usr/bin/env bash
# The repository's rules that a machine can check. Prints what breaks one, and exits with 1.
set -euo pipefail
cd "$(dirname "$0")/.."
/usr/bin/python3 tools/check_layering.py
/usr/bin/python3 tools/check_rules.py
bash -n tools/*.sh .ci/run
if command -v clang-format >/dev/null; then
  git ls-files '*.cc' '*.h' | xargs clang-format --dry-run -Werror
fi
