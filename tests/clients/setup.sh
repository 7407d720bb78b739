#!/usr/bin/env bash
# Installs what checks the API and calls it from other languages into build/clients: buf and gRPC for Python in a venv,
# Go's modules and the two generators of Go stubs. Everything is pinned by hash: requirements.txt, go/go.sum. Does
# nothing when it is there; afterwards nothing needs a network.
set -euo pipefail
cd "$(dirname "$0")/../.."
source tests/clients/go/environment.sh
requirements=tests/clients/requirements.txt
pins=($requirements tests/clients/setup.sh tests/clients/go/{go.mod,go.sum,environment.sh})
stamp=build/clients/.installed-$(cat "${pins[@]}" | sha256sum | cut -c1-16)
[ ! -e "$stamp" ] || exit 0
if [ ! -x "$GO" ]; then
  echo "$GO is missing: it is of Debian's golang-1.19-go; \`tools/install_deps.sh --test\` installs it" >&2
  exit 1
fi
mkdir -p build/clients
log=build/clients/setup.log
# One chain, because `set -e` is without effect inside a condition. The last build fetches what the client imports and
# compiles it ahead of the test.
install() {
  /usr/bin/python3 -m venv --clear build/clients/venv &&
    build/clients/venv/bin/python3 -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps \
      -r $requirements &&
    cd tests/clients/go &&
    "$GO" build -o "$GO_TOOLS/" google.golang.org/protobuf/cmd/protoc-gen-go \
      google.golang.org/grpc/cmd/protoc-gen-go-grpc &&
    "$GO" build google.golang.org/grpc google.golang.org/grpc/credentials/insecure \
      google.golang.org/genproto/googleapis/api/annotations google.golang.org/genproto/googleapis/rpc/errdetails \
      google.golang.org/genproto/googleapis/rpc/status google.golang.org/protobuf/types/known/{emptypb,fieldmaskpb}
}
echo "Installing buf, gRPC for Python and Go's modules into build/clients (about a minute) ..."
if ! (install) >$log 2>&1 </dev/null; then
  tail -n 20 $log >&2
  echo "build/clients could not be set up; all output is in $log" >&2
  exit 1
fi
rm -f build/clients/.installed-*
touch "$stamp"
