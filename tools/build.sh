#!/usr/bin/env bash
# Configures and builds a preset, quietly: the whole output is kept in build/<preset>.log and shown when it fails.
#
#   build.sh PRESET JOBS TARGET [TARGET ...]
set -euo pipefail
cd "$(dirname "$0")/.."
preset=$1
jobs=$2
shift 2
mkdir -p build
log=build/$preset.log
start=$SECONDS
echo "Building $* ($preset; a first build takes some minutes) ..."
if ! { cmake --preset "$preset" && cmake --build --preset "$preset" --parallel "$jobs" --target "$@"; } >"$log" 2>&1; then
  grep -nE 'error|Error|FAILED|not found' "$log" | head -n 40 >&2
  echo "The build failed; all of its output is in $log" >&2
  exit 1
fi
echo "Built in $((SECONDS - start)) s."
