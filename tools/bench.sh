#!/usr/bin/env bash
# Runs benchmarks and writes docs/benchmarks.md: bench.sh PROGRAM [NAME...]. With names only those are run, and printed.
set -euo pipefail
cd "$(dirname "$0")/.."
program=$1
shift
out=$(mktemp -d /var/tmp/finetuned-bench-XXXXXX)
trap 'rm -rf "$out"' EXIT
head='| benchmark | workload | measured | against | goal | met |
|---|---|---|---|---|---|'
if [ $# -gt 0 ]; then
  echo "$head"
  for name in "$@"; do "$program" "$name" "$out"; done
  exit 0
fi
for name in $("$program" --list); do
  echo "$name ..." >&2
  "$program" "$name" "$out" > /dev/null
done
cpu=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1)
{
  sed '/^<!-- table -->$/q' docs/benchmarks.md
  echo
  echo "Build $(git describe --always --dirty), $(date -u +%F), $(nproc) cores ($cpu), $(psql --version | cut -d' ' -f3)" \
    "as PostgreSQL, waiting for the disk. Callers, daemon and Postgres share the cores."
  echo
  echo "$head"
  cat "$out"/*.md
} > "$out/page"
mv "$out/page" docs/benchmarks.md
cat docs/benchmarks.md
