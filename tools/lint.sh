#!/usr/bin/env bash
# The repository's rules that a machine can check. Prints what breaks one, and exits with 1.
set -euo pipefail
cd "$(dirname "$0")/.."
/usr/bin/python3 tools/check_layering.py
/usr/bin/python3 tools/check_rules.py
for script in $(git ls-files --cached --others --exclude-standard '*.sh') .ci/run; do
  case $(head -n 1 "$script") in *bash) bash -n "$script" ;; *) sh -n "$script" ;; esac
done
# `make test` installs it.
if [ -x build/clients/venv/bin/buf ]; then
  tools/check_protos.sh
fi
if command -v clang-format >/dev/null; then
  git ls-files '*.cc' '*.h' | xargs clang-format --dry-run -Werror
fi
