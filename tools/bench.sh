#!/usr/bin/env bash
# Runs benchmarks and writes docs/benchmarks.md: bench.sh PROGRAM [NAME...]. With names only those are run, and printed.
set -euo pipefail
cd "$(dirname "$0")/.."
program=$1
shift
# Other queues that this is held against, where there are Node.js and Go; nothing of them is part of the product.
export FINETUNED_BENCH_PEERS=$PWD/build/peers
mkdir -p "$FINETUNED_BENCH_PEERS"
if command -v npm > /dev/null; then
  cp tests/bench/peers/package.json build/peers/
  (cd build/peers && npm install --no-audit --no-fund --no-package-lock --silent) ||
    echo "without graphile-worker and pg-boss: they could not be installed" >&2
fi
PATH=$PATH:/usr/local/go/bin
if command -v go > /dev/null; then
  (cd tests/bench/peers/river && go build -o "$FINETUNED_BENCH_PEERS/river" .) ||
    echo "without River: it could not be installed" >&2
fi
out=$(mktemp -d /var/tmp/finetuned-bench-XXXXXX)
trap 'rm -rf "$out"' EXIT
head='| benchmark | workload | measured | against | goal | met |
|---|---|---|---|---|---|'
# The trainer's Python is that of its tests, which has the library it is held against.
measure() {
  if [ "$1" = trainer ]; then
    build/venv/bin/python -B tests/bench/trainer.py "$out" 2> "$out/trainer.err" || { cat "$out/trainer.err" >&2; return 1; }
  else
    "$program" "$1" "$out"
  fi
}
if [ $# -gt 0 ]; then
  echo "$head"
  for name in "$@"; do measure "$name"; done
  exit 0
fi
for name in $("$program" --list) trainer; do
  echo "$name ..." >&2
  measure "$name" > /dev/null || echo "| $name | it failed | | | | **no** |" > "$out/$name.md"
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
  echo
  # What people wrote of the figures before; to be read again with the new ones.
  sed -n '/^## /,$p' docs/benchmarks.md
} > "$out/page"
mv "$out/page" docs/benchmarks.md
cat docs/benchmarks.md
