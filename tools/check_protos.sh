#!/usr/bin/env bash
# Checks the API in proto/: its style (buf lint), its format, and that nothing has broken since the released API (buf
# breaking). buf.yaml has the rules.
#
#   check_protos.sh            checks; exits with 1 when something is wrong
#   check_protos.sh --renew    takes the API as it is now for the released one: at every release, and never to silence a
#                              check. Refuses when something has broken
#
# tests/clients/released_api.binpb is the released API, a compiled image, so that a fresh clone can be checked without a
# network and without its history.
set -euo pipefail
cd "$(dirname "$0")/.."
released=tests/clients/released_api.binpb
buf=${BUF:-build/clients/venv/bin/buf}
if ! command -v "$buf" >/dev/null; then
  echo "check_protos.sh: there is no $buf: run tests/clients/setup.sh, or name one with BUF=" >&2
  exit 1
fi
# Otherwise it wants a folder in the home of whoever calls it.
export BUF_CACHE_DIR=${BUF_CACHE_DIR:-$PWD/build/clients/buf}
broken=0
# check SENTENCE ARGUMENT...: runs buf; the sentence says what is wrong where buf finds something.
check() {
  local sentence=$1 status=0
  shift
  "$buf" "$@" || status=$?
  # 100 is buf's own for a finding; anything else is that it could not look.
  [ $status = 0 ] || [ $status = 100 ] || sentence="\`buf $*\` failed with status $status"
  [ $status = 0 ] || { echo "check_protos.sh: $sentence" >&2; broken=1; }
}
check "the API breaks a rule of style; buf.yaml says which hold, and why some do not" lint
check "a .proto file is not formatted: run \`$buf format --write proto\`" format --diff --exit-code proto
if [ -e $released ]; then
  check "the API would break its callers: add beside what is there, and mark the old deprecated (docs/calling.md)" \
    breaking proto --against $released
elif [ "${1:-}" != --renew ]; then
  echo "check_protos.sh: $released is missing: get it back from git" >&2
  broken=1
fi
[ $broken = 0 ] || exit 1
if [ "${1:-}" = --renew ]; then
  "$buf" build proto --exclude-source-info -o $released
  echo "$released is the API as it is now; commit it with the release"
fi
